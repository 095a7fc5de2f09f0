"""What the vectorized engine reports and passes on; its trajectories are held against the naive loop elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ngpd_fl.engines import EngineSettings, SynchronousEngine, default_chunk_size
from strategies import DSGD, DSGDOptions, NGPDOptions, Phase, make_strategy
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import QuadraticObjective, make_quadratic, quadratic_engine, quadratic_strategy, run_rounds
from topologies import parse_topology


@pytest.mark.parametrize(
    ("options", "per_edge"), [(DSGDOptions(), 7), (NGPDOptions(), 8), (NGPDOptions(edge_penalty=0.1), 7)]
)
@pytest.mark.parametrize("schedule", ["static", "matching"])
def test_bytes_are_the_payload_of_every_message_that_is_sent(options: Any, per_edge: int, schedule: str) -> None:
    topology = parse_topology({"name": "star", "nodes": 5, "schedule": schedule}).build(seed=0)
    problem = make_quadratic(10, 5, dim=7)
    engine = quadratic_engine(problem, options, topology, message_loss=0.5)
    naive = quadratic_engine(problem, options, topology, message_loss=0.5, engine=NaiveNetwork)
    total = 0
    for number in range(4):
        sent = int(engine.run_round().bytes_sent)
        assert sent == 2 * topology.active(number).sum() * per_edge * 8
        naive.run_round()
        total += sent
        assert naive.bytes_sent == total


def test_loss_and_shrink_are_means_over_nodes_and_steps() -> None:
    topology = parse_topology({"name": "star", "nodes": 4}).build(seed=0)
    problem = make_quadratic(10, 4, dim=3)
    options = NGPDOptions(lr=0.5, trust_radius=0.01)
    engine = quadratic_engine(problem, options, topology, local_steps=3)
    strategy = quadratic_strategy(options, 3)
    infos: list[Any] = []

    class Noted:
        def __getattr__(self, name: str) -> Any:
            return getattr(strategy, name)

        def local_step(self, *inputs: Any) -> Any:
            state, info = strategy.local_step(*inputs)
            infos.append(info)
            return state, info

    naive = quadratic_engine(problem, options, topology, local_steps=3, engine=NaiveNetwork, strategy=Noted())
    for _ in range(2):
        infos.clear()
        info = engine.run_round()
        naive.run_round()
        torch.testing.assert_close(info.loss, torch.stack([each.loss for each in infos]).mean())
        torch.testing.assert_close(info.shrink, torch.stack([each.shrink for each in infos]).mean())
        assert info.shrink < 1


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
def test_steps_are_counted_over_the_whole_run_and_so_are_the_factors_on_the_step_size(engine: Any) -> None:
    topology = parse_topology({"name": "path", "nodes": 2}).build(seed=0)
    problem = make_quadratic(10, 2, dim=3)
    asked: list[tuple[int, Phase]] = []

    def minibatches(nodes: Tensor, steps: Sequence[int], phase: Phase) -> Any:
        asked.extend((step, phase) for step in steps)
        return problem.minibatches(nodes, steps, phase)

    options = NGPDOptions(lr=0.5, factor_every=2, basis_every=3)
    frozen = engine(
        EngineSettings(
            quadratic_strategy(options, 3),
            topology,
            minibatches,
            torch.ones(3, dtype=torch.float64),
            local_steps=2,
            rounds=3,
            lr_scale=lambda step: 1.0 if step < 4 else 1e-300,
        )
    )
    before = run_rounds(frozen, 2)
    assert frozen.round == 2
    assert {step for step, _ in asked} == {0, 1, 2, 3}
    assert all(phase == Phase(step % 2 == 0, step % 3 == 0) for step, phase in asked)
    frozen_params = [estimate.clone() for estimate in (before, run_rounds(frozen, 1))]
    assert (before - 1).norm() > 1e-3
    # The local steps of round 2 have size 0; only the averaging is left, which keeps the mean.
    torch.testing.assert_close(frozen_params[1].mean(0), frozen_params[0].mean(0), rtol=1e-12, atol=1e-12)


class Trusting(DSGD):
    """Adds up its whole inbox, whatever the headers say."""

    def incoming(self, state: Any, view: Any, round_view: Any, inbox: Any, outbox: Any, headers: Any) -> Any:
        return state._replace(params=0.1 * (state.params + inbox.params.sum(0)))


@pytest.mark.parametrize("schedule", ["static", "matching"])
def test_the_inbox_holds_zeros_where_nothing_arrived(schedule: str) -> None:
    topology = parse_topology({"name": "path", "nodes": 5, "schedule": schedule}).build(seed=0)
    problem, options = make_quadratic(10, 5, dim=3), DSGDOptions()
    settings = {"message_loss": 0.4, "strategy": Trusting(options, QuadraticObjective())}
    vectorized, naive = (
        run_rounds(quadratic_engine(problem, options, topology, engine=engine, **settings), 6)
        for engine in (SynchronousEngine, NaiveNetwork)
    )
    torch.testing.assert_close(vectorized, naive, rtol=1e-12, atol=1e-13)


def test_every_node_starts_at_the_start_and_keeps_its_dtype() -> None:
    topology = parse_topology({"name": "star", "nodes": 4}).build(seed=0)
    start = torch.arange(3, dtype=torch.float64)
    engine = quadratic_engine(make_quadratic(10, 4, dim=3), NGPDOptions(), topology, start=start)
    assert torch.equal(engine.params(), start.expand(4, -1))
    assert run_rounds(engine, 1).dtype == torch.float64
    assert torch.equal(start, torch.arange(3, dtype=torch.float64))


def test_a_cpu_computes_as_many_nodes_at_once_as_stay_in_its_cache() -> None:
    topology = parse_topology({"name": "ring", "nodes": 8}).build(seed=0)
    problem, sizes = make_quadratic(10, 8, dim=3), []

    def minibatches(nodes: Tensor, steps: Sequence[int], phase: Phase) -> Any:
        sizes.append(len(nodes))
        return problem.minibatches(nodes, steps, phase)

    def run(params: int, chunk_size: int | None, one_by_one: bool = False) -> list[int]:
        sizes.clear()
        start = torch.zeros(params, dtype=torch.float64)
        strategy = make_strategy(DSGDOptions(), QuadraticObjective())
        settings = EngineSettings(
            strategy, topology, minibatches, start, 1, 1, chunk_size=chunk_size, one_by_one=one_by_one
        )
        engine = SynchronousEngine(settings)
        with contextlib.suppress(RuntimeError):  # the problem has 3 parameters only
            engine.run_round()
        return sizes

    assert run(3, None) == [8] and run(3, 2) == [2, 2, 2, 2] and run(3, None, one_by_one=True) == [1] * 8
    # The first block, which then fails: as small as pays, and never larger than the cache.
    assert run((2 << 20) // 8 // 3, None) == [3] and run(8 << 20, None) == [1]
    assert default_chunk_size(torch.zeros(100, dtype=torch.float64), 10**6, one_by_one=True) == (8 << 20) // 800
