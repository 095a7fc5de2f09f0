"""Nodes that are killed and go on from an earlier state: mirrors never claim too much, and the end is the exact one.

Asynchronous peers on the quadratic problem in one thread: they take turns by chance, messages are lost and late by
chance, and now and then one of them dies and goes back to a state that it had some rounds ago.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import strategies.parts.edge_consensus as edge_consensus
from ngpd_fl import Config
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.timeouts import NodeTimeouts
from ngpd_fl.peer.transport import Counts
from strategies import ECLOptions
from tests.support.quadratic import Quadratic, make_quadratic, quadratic_settings, undamped
from topologies import parse_topology

RUN = b"0123456789abcdef"


class Air:
    """Frames on their way: each is lost, or comes after some turns."""

    def __init__(self, random: np.random.Generator, loss: float, turns: int) -> None:
        self.random, self.loss, self.turns = random, loss, turns
        self.receivers: dict[int, Callable[[int, memoryview], None]] = {}
        self.due: dict[int, list[tuple[int, bytes]]] = {}  # by edge
        self.now = 0

    def send(self, edge: int, frame: Sequence[bytes | memoryview]) -> None:
        if self.random.random() >= self.loss:
            waiting = self.due.setdefault(edge, [])
            earliest = waiting[-1][0] if waiting else 0  # frames of an edge stay in order
            waiting.append((max(earliest, self.now + int(self.random.integers(self.turns + 1))), b"".join(frame)))

    def pass_turn(self) -> None:
        self.now += 1
        for edge, waiting in self.due.items():
            while waiting and waiting[0][0] <= self.now:
                self.receivers[edge](edge, memoryview(waiting.pop(0)[1]))


class End:
    """A node's end of the air."""

    def __init__(self, air: Air) -> None:
        self.air = air

    def start(self, receive: Any, queue_length: int = 1) -> None:
        pass

    def send(self, edge: int, frame: Sequence[bytes | memoryview]) -> None:
        self.air.send(edge, frame)

    def counts(self) -> Counts:
        return Counts()

    def close(self) -> None:
        pass


class Network:
    """All peers, and what everyone truly had when it sent something."""

    def __init__(
        self, problem: Quadratic, options: Any, graph: dict[str, Any], seed: int, loss: float, turns: int
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.air = Air(self.random, loss, turns)
        self.topology = parse_topology(graph).build(seed=0)
        dim = problem.targets.shape[1]
        start = torch.arange(1.0, dim + 1, dtype=torch.float64)
        training = {"rounds": 10**6, "local_steps": 1, "mode": "asynchronous"}
        settings = quadratic_settings(problem, options, self.topology, start=start)
        self.job: Any = SimpleNamespace(
            config=Config(training=training, topology={"name": "path", "nodes": 2}),
            strategy=settings.strategy,
            model=SimpleNamespace(start=lambda: start),
            engine_settings=settings,
        )
        self.starts = [1] * self.topology.num_nodes
        self.engines = [self.make(node) for node in range(self.topology.num_nodes)]
        self.kept: list[list[Any]] = [[engine.state()] for engine in self.engines]
        self.truth: dict[tuple[int, int, int], Tensor] = {}
        self.errors: list[float] = []
        self.used: list[bool] = []

    def make(self, node: int) -> Any:
        network = self

        class Noting(PeerEngine):
            def _frame(self, edge: int, header: Any, messages: Any) -> Any:
                network.truth[edge, self.starts, header.sequence] = self.params()[0].clone()
                return super()._frame(edge, header, messages)

            def _take(self, number: int, frames: Any) -> int:
                network.taking = {edge: frame.head for edge, frame in frames.items()}
                network.slots = [int(edge) for edge in self._group._blocks[0].in_edge[0]]
                return super()._take(number, frames)

        engine = Noting(self.job, [node], End(self.air), RUN, timeouts=NodeTimeouts(0, 0))
        self.join(engine)
        return engine

    def join(self, engine: PeerEngine) -> None:
        for edge in engine._group.incoming:
            self.air.receivers[edge] = engine.inbox.receive

    def observe(
        self, params: Tensor, neighbors: Tensor, weights: Tensor, at_hand: Tensor, clip: float | None = None
    ) -> Tensor:
        """Compare what is mixed with what its sender truly had."""
        for slot, edge in enumerate(self.slots):
            if edge in self.taking:
                self.used.append(bool(at_hand[slot]))
            if at_hand[slot]:
                head = self.taking[edge]
                truth = self.truth[edge, head.incarnation, head.header.sequence]
                self.errors.append(float((neighbors[slot] - truth).norm() / truth.norm()))
        return gossip(params, neighbors, weights, at_hand, clip)

    def turn(self, kill: float = 0.0) -> None:
        """Let a node do a round, or die and come back."""
        self.air.pass_turn()
        node = int(self.random.integers(len(self.engines)))
        if self.random.random() < kill:
            self.revive(node)
            return
        self.engines[node].run_round()
        self.kept[node] = [*self.kept[node][-6:], self.engines[node].state()]

    def revive(self, node: int) -> None:
        back = int(self.random.integers(len(self.kept[node])))
        self.kept[node] = self.kept[node][: back + 1]
        self.starts[node] += 1
        self.engines[node] = self.make(node)
        self.engines[node].load(*self.kept[node][-1])
        self.engines[node].begin_incarnation(self.starts[node])
        self.join(self.engines[node])

    def params(self) -> Tensor:
        return torch.cat([engine.params() for engine in self.engines])


gossip = edge_consensus.gossip


@pytest.mark.parametrize("graph", ["path 2", "ring 4"])
@pytest.mark.parametrize("theta", [1.0, 0.9])
@pytest.mark.parametrize("method", [ECLOptions, undamped])
def test_mirrors_are_right_through_incarnations(
    method: Any, theta: float, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, nodes = graph.split()
    problem = make_quadratic(10, int(nodes), dim=3)
    options = method(lr=0.3, edge_penalty=0.5, theta=theta, mixing=0.5, memory=12)
    network = Network(problem, options, {"name": name, "nodes": int(nodes)}, seed=1, loss=0.2, turns=4)
    monkeypatch.setattr(edge_consensus, "gossip", network.observe)
    for _ in range(500):
        network.turn(kill=0.02)
    assert sum(network.starts) > len(network.starts) + 3
    for _ in range(120):
        network.turn()
    so_far = len(network.used)
    for _ in range(100):
        network.turn()
    assert max(network.errors) < 1e-10
    assert np.mean(network.used[so_far:]) > 0.5
    assert all(not engine.inbox.refused for engine in network.engines)


@pytest.mark.slow
@pytest.mark.parametrize("method", [ECLOptions, undamped])
def test_the_minimizer_is_reached_after_incarnations(method: Any) -> None:
    problem = make_quadratic(4, 4, dim=5)
    options = method(lr=0.5, edge_penalty=0.5, memory=4, mixing=0.5)
    network = Network(problem, options, {"name": "ring", "nodes": 4}, 3, loss=0.1, turns=2)
    for turn in range(4000):
        network.turn(kill=0.01 if turn < 500 else 0.0)
    assert sum(network.starts) > 8
    assert problem.relative_error(network.params()) < 1e-6


def test_what_was_applied_of_an_earlier_incarnation_is_not_taken_for_this_ones(monkeypatch: Any) -> None:
    """A neighbor that has not heard of the new incarnation yet acknowledges by the old numbers."""
    options = ECLOptions(lr=0.3, edge_penalty=0.5, mixing=0.5, memory=12)
    network = Network(make_quadratic(10, 2, dim=3), options, {"name": "path", "nodes": 2}, seed=0, loss=0.0, turns=0)
    monkeypatch.setattr(edge_consensus, "gossip", network.observe)

    def round_of(node: int) -> None:
        network.engines[node].run_round()
        network.air.pass_turn()

    for node in [0, 1] * 6:
        round_of(node)
    network.kept[0] = network.kept[0][:1]
    network.revive(0)
    network.air.loss = 1.0
    for _ in range(10):  # nobody hears of these, while their numbers reach those that node 1 has seen
        round_of(0)
    network.air.loss = 0.0
    before = len(network.used)
    round_of(1)
    round_of(0)
    assert len(network.used) == before + 1 and not network.used[-1]
    for node in [1, 0] * 3:
        round_of(node)
    assert network.used[-1] and max(network.errors) < 1e-10
