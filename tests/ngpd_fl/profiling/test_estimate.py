"""Estimates: exact figures are exact, measured ones are scaled in proportion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch.utils._pytree import tree_leaves

from ngpd_fl.config import Config
from ngpd_fl.core import machine
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.profiling import estimate, timing
from ngpd_fl.profiling.memory import state_bytes
from ngpd_fl.profiling.subnetwork import part_of
from ngpd_fl.training import compose
from ngpd_fl.training.run import run
from strategies import STRATEGIES, parse_strategy
from topologies import parse_topology


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time each kind of round once: these tests use no real time."""
    monkeypatch.setattr(timing, "_REPEATS", 1)


def small(**values: Any) -> Config:
    training = {"rounds": 3, "local_steps": 2, **values.pop("training", {})}
    return Config(training=training, evaluation={"every": 2}, **values)


def kinds(config: Config) -> dict[str, int]:
    parts = compose(config)
    return state_bytes(parts, parts.topology, config.engine.chunk_size)


@pytest.mark.parametrize("strategy", [*STRATEGIES, {"name": "ngpd", "mixing": 0, "rank": 5}])
@pytest.mark.parametrize(("topology", "chunk_size"), [("barbell", None), ("star", 3)])
def test_the_state_is_that_of_the_engine(strategy: Any, topology: str, chunk_size: int | None) -> None:
    """Also with unused slots: a star's hub shares no block with its leaves, and rows of a block have equal slots."""
    spec = parse_strategy(strategy).spec
    config = small(
        strategy=strategy,
        topology={"name": "tree" if spec.tree else topology, "nodes": 8},
        training={"local_steps": 1} if spec.single_step else {},
        engine={"chunk_size": chunk_size},
    )
    engine = SynchronousEngine(compose(config).engine_settings)
    engine.run_round()
    held = sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(engine.group.states))
    assert sum(kinds(config).values()) == held


def test_kinds_of_state() -> None:
    """8 nodes on a ring, softmax on 64 pixels: P = 650, 2 slots a node, floats of 4 bytes, integers of 8."""
    sizes = kinds(small(model="softmax"))
    assert sizes["params"] == 8 * 650 * 4
    assert sizes["dual"] == 8 * 2 * 650 * 4
    assert sizes["mirror"] == 8 * (2 * 2 * 650 * 4 + 2 * 2 * 8)
    factors = 65 * 65 + 10 * 10  # once as running averages, once as eigenvectors
    assert sizes["curvature"] == 8 * 4 * (2 * factors + 65 + 10 + 2 + 1)
    assert kinds(small(model="softmax", strategy="dsgd")) == {"params": 20800, "velocity": 20800}


@pytest.mark.parametrize("schedule", ["static", "matching"])
@pytest.mark.parametrize(("strategy", "dataset"), [("ngpd", "diabetes"), ("dsgd", "digits")])
def test_bytes_and_evaluations_are_those_of_a_run(schedule: str, strategy: str, dataset: str) -> None:
    values = {"topology": {"name": "erdos-renyi", "nodes": 6, "schedule": schedule}, "data": {"dataset": dataset}}
    config = small(model="softmax", strategy=strategy, network={"message_loss": 0.2}, **values)
    estimated, result = estimate(config), run(config)
    assert estimated.sent == result.summary["bytes_sent"]
    assert estimated.evaluations == len(result.metrics)
    assert estimated.parameters == result.summary["parameters"]
    assert estimated.measured_nodes == 6


@pytest.mark.parametrize("strategy", ["ngpd", "dsgd"])
def test_messages_in_memory_are_those_of_the_mailbox(strategy: str) -> None:
    config = small(model="softmax", strategy=strategy)
    engine = SynchronousEngine(compose(config).engine_settings)
    engine.run_round()
    (messages,) = engine.group._messages._on.values()
    held = sum(buffer.numel() * buffer.element_size() for buffer in messages.buffers.values())
    assert estimate(config).messages == held


@pytest.mark.parametrize("dataset", ["digits", "diabetes"])
def test_the_data_set_is_counted_once(dataset: str) -> None:
    config = small(model="softmax", strategy="dsgd", data={"dataset": dataset})
    data = compose(config).dataset
    splits = (data.train, data.validation, data.test)
    tensors = [tensor for split in splits for tensor in (split.inputs, split.labels)]
    assert estimate(config).dataset == sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_rounds_are_weighted_by_how_often_they_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that counts refreshes, against the mean over all rounds."""
    strategy = {"name": "ngpd", "factor_every": 3, "basis_every": 5}
    config = small(model="softmax", strategy=strategy, training={"rounds": 23, "local_steps": 2})
    parts = compose(config)
    engine = SynchronousEngine(replace(parts.engine_settings, chunk_size=None))

    def seconds(number: int) -> float:
        phases = [parts.strategy.phase(step) for step in (2 * number, 2 * number + 1)]
        return 0.001 * sum(1 + 10 * phase.refresh_factors + 100 * phase.refresh_basis for phase in phases)

    monkeypatch.setattr(timing, "_timed", lambda parts, action: seconds(engine.round))
    expected = sum(map(seconds, range(23))) / 23
    assert timing.mean_round(parts, engine) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "degree"), [("torus", 4), ("ring", 2), ("hypercube", 6), ("star", 2)])
def test_a_part_has_the_networks_degree(name: str, degree: int) -> None:
    topology = parse_topology({"name": name, "nodes": 64}).build(seed=0)
    part = part_of(topology, 16)
    assert part.num_nodes == 16 and (part.degrees == degree).all()
    assert part_of(topology, 64) is topology


@pytest.mark.parametrize("degree", [3, 5])
def test_a_part_with_an_odd_degree(degree: int) -> None:
    topology = parse_topology({"name": "random-regular", "nodes": 64, "degree": degree}).build(seed=0)
    assert (part_of(topology, 16).degrees == degree).all()


def test_time_of_a_part_is_carried_over_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a round of n nodes takes n seconds."""
    sizes: list[int] = []

    def timed(parts: Any, action: Callable[[], object]) -> float:
        engine = getattr(action, "__self__", None)
        sizes.append(engine.num_nodes if engine is not None else 0)
        return float(sizes[-1] or 0.25)

    monkeypatch.setattr(timing, "_timed", timed)
    config = small(model="softmax", topology={"nodes": 24})
    estimated = estimate(config)
    assert set(sizes) == {0, 8} and estimated.measured_nodes == 8
    assert estimated.round == pytest.approx(24)
    assert estimated.training_seconds == pytest.approx(3 * 24)
    assert estimated.evaluation == pytest.approx(25 * 0.25 / 2)


def test_memory_grows_with_the_nodes_as_in_the_measured_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes 1 GB and 1 MB a node; 8, 16, ... nodes are measured until a round takes a second."""
    sizes: list[int] = []

    def timed(job: Any, action: Callable[[], object]) -> float:
        engine = getattr(action, "__self__", None)
        sizes.append(engine.num_nodes if engine is not None else 0)
        return 2.0 if sizes[-1] == 32 else 0.1

    monkeypatch.setattr(timing, "_timed", timed)
    monkeypatch.setattr(timing, "taken_bytes", lambda devices: 10**9 + 10**6 * sizes[-1])
    monkeypatch.setattr("ngpd_fl.profiling.estimation.taken_bytes", lambda devices: 10**9)
    monkeypatch.setattr(machine, "peak_resident", lambda: 0)
    estimated = estimate(small(model="softmax", topology={"nodes": 400}))
    assert estimated.measured_nodes == 32
    assert estimated.memory == pytest.approx(10**9 + 400 * 10**6 + estimated.models, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "tolerance"), [("dsgd", 0.15), ("ngpd", 0.3)])
def test_a_process_takes_the_estimated_memory(strategy: str, tolerance: float) -> None:
    results = []
    for what in ("estimate", "run"):
        command = [sys.executable, "-m", "benchmarks.large", what, strategy, "512"]
        results.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]))
    assert results[0] == pytest.approx(results[1], rel=tolerance)
