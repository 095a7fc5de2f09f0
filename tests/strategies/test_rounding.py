"""Rounded messages: bytes are saved, both ends agree on what was said, and the end is near the exact one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from strategies import DSGDOptions, ECLOptions, make_strategy
from strategies.compression.rounding import Rounded
from tests.support.quadratic import QuadraticObjective, make_quadratic, quadratic_engine, run_rounds, undamped
from topologies import parse_topology


def test_messages_hold_the_nearest_numbers_of_the_type() -> None:
    strategy: Any = make_strategy(DSGDOptions(message_dtype="bfloat16"), QuadraticObjective())
    assert isinstance(strategy, Rounded)
    params = torch.tensor([1.0, 1.001, -3.1415926, 0.0, 1e-30], dtype=torch.float64)
    sent = strategy.outgoing(strategy.init(params, None), None, None).params
    # bfloat16 has 8 significant bits: steps of 2^-7 at 1, of 2^-6 at 3.
    assert sent[:4].tolist() == [1.0, 1.0, -201 / 64, 0.0]
    assert sent.dtype == torch.float64 and sent[4] != 1e-30 and abs(sent[4] - 1e-30) < 1e-32


@pytest.mark.parametrize("method", [ECLOptions, undamped])
@pytest.mark.parametrize(("message_dtype", "error"), [("float16", 2e-3), ("bfloat16", 2e-2), (None, 1e-9)])
def test_the_minimizer_is_reached_as_well_as_the_numbers_allow(method: Any, message_dtype: Any, error: float) -> None:
    problem = make_quadratic(10, 6, dim=5)
    graph = parse_topology({"name": "ring", "nodes": 6}).build(seed=0)
    engine = quadratic_engine(
        problem, method(lr=0.5, edge_penalty=0.5, message_dtype=message_dtype), graph, message_loss=0.1
    )
    assert problem.relative_error(run_rounds(engine, 900)) < error
    info = engine.run_round()
    assert info.bytes_sent == 12 * 5 * (2 if message_dtype else 8)
