"""Runs give the same bits for any number of workers, and whether their functions are traced or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.clock import MODES
from ngpd_fl.core.trace import Traced
from ngpd_fl.training.run import Result
from strategies import STRATEGIES

LENET = {"model": {"name": "lenet"}, "data": {"batch_size": 4}}
CASES = [
    *((name, mode, {}) for name in STRATEGIES for mode in MODES if mode == "synchronous" or name in ("ngpd", "dsgd")),
    ("ngpd", "synchronous", LENET),
    ("dsgd", "asynchronous", LENET),
    ("ngpd", "synchronous", {"topology": {"name": "ring", "nodes": 7, "schedule": "matching"}}),
]


def config(strategy: str, mode: str, sections: dict[str, Any], workers: int = 1) -> Config:
    """A run of 5 rounds and up to 2 local steps, 7 nodes in blocks of 2."""
    needs = STRATEGIES[strategy][0]().needs
    values: dict[str, Any] = {
        "strategy": strategy,
        "topology": {"name": "path" if needs.tree else "ring", "nodes": 7},
        "training": {"rounds": 5, "local_steps": 1 if needs.single_step else 2, "mode": mode},
        "model": {"name": "mlp", "hidden": [6]},
        "data": {"batch_size": 8},
        "evaluation": {"every": 5},
        "engine": {"chunk_size": 2, "workers": workers},
    }
    if mode != "synchronous":
        values["devices"] = {"slow": {"1": 3.0}, "step_sigma": 0.5}
    return Config(**values | sections)


def assert_same(actual: Result, expected: Result) -> None:
    assert torch.equal(actual.params, expected.params)
    for one, other in zip(actual.metrics, expected.metrics, strict=True):
        assert one.model_dump(exclude={"train_seconds"}) == other.model_dump(exclude={"train_seconds"})


@pytest.mark.parametrize(("strategy", "mode", "sections"), CASES)
def test_results_do_not_depend_on_workers(strategy: str, mode: str, sections: dict[str, Any]) -> None:
    alone = run(config(strategy, mode, sections))
    for workers in (2, 3):
        assert_same(run(config(strategy, mode, sections, workers)), alone)


@pytest.mark.parametrize(("strategy", "mode", "sections"), CASES)
def test_results_do_not_depend_on_traces(
    strategy: str, mode: str, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = run(config(strategy, mode, sections))
    monkeypatch.setattr(Traced, "__call__", lambda self, *arguments: self._function(*arguments))
    assert_same(traced, run(config(strategy, mode, sections)))
