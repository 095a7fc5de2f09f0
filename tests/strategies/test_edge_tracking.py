"""Edge tracking as average consensus: against the mean itself, with lost messages too, and against averaging."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strategies import Headers, NGPDOptions
from strategies.parts.edge_tracking import EdgeTracker, after_messages, edge_message, start_edge_tracker, with_gradient
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import quadratic_engine, quadratic_on


class Consensus:
    """Trackers of all nodes of a graph, by a plain loop."""

    def __init__(self, topology: dict[str, Any], theta: float = 1.0, clip: float | None = None) -> None:
        problem, self.topology = quadratic_on(topology, condition=10, dim=3)
        network = quadratic_engine(problem, NGPDOptions(), self.topology, engine=NaiveNetwork)
        self.views, self.neighbors, self.theta, self.clip = network.views, network.neighbors, theta, clip
        zero = torch.zeros(3, dtype=torch.float64)
        self.trackers: list[EdgeTracker] = [start_edge_tracker(zero, self.views[node]) for node in network.nodes]

    def run(self, vectors: Tensor, rounds: int, loss: float = 0.0, first: int = 0) -> Tensor:
        """Show each node its vector of ``[N, P]`` in every round; return all corrections ``[N, P]``."""
        random = np.random.default_rng(5)
        degrees = {node: len(others) for node, others in self.neighbors.items()}
        weights = {
            node: torch.tensor([(degrees[node] * degrees[other]) ** -0.5 for other in others], dtype=torch.float64)
            for node, others in self.neighbors.items()
        }
        for number in range(first, first + rounds):
            active = {frozenset(edge) for edge in self.topology.graph.edges}
            if (self.topology.period or 1) > 1:
                mixing = self.topology.weights(number).matrix().toarray()
                active = {edge for edge in active if mixing[tuple(edge)]}
            pairs = zip(self.trackers, vectors, strict=True)
            self.trackers = [with_gradient(tracker, vector) for tracker, vector in pairs]
            sent = [edge_message(self.trackers[node], self.views[node], weights[node]) for node in self.neighbors]
            after = []
            for node, others in self.neighbors.items():
                inbox = torch.stack([sent[other][self.neighbors[other].index(node)] for other in others])
                there = [frozenset((node, other)) in active and random.random() >= loss for other in others]
                received = torch.tensor(there)
                inbox[~received] = 0
                nothing = torch.zeros(len(others), dtype=torch.int64)
                headers = Headers(received, nothing, nothing, torch.zeros_like(received))
                view, tracker = self.views[node], self.trackers[node]
                after.append(after_messages(tracker, view, weights[node], inbox, headers, self.theta, self.clip))
            self.trackers = after
        return torch.stack([tracker.correction for tracker in self.trackers])


VECTORS = torch.randn(16, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
RING = {"name": "ring", "nodes": 16}
MATCHINGS = {"name": "sequence", "nodes": 4, "graphs": [[[0, 1], [2, 3]], [[1, 2], [0, 3]]]}


@pytest.mark.parametrize(("theta", "clip", "loss"), [(1.0, None, 0.0), (0.5, None, 0.3), (1.0, 0.5, 0.3)])
@pytest.mark.parametrize(
    "topology",
    [{"name": "ring", "nodes": 16}, {"name": "star", "nodes": 5}, {"name": "complete", "nodes": 6}, MATCHINGS],
)
def test_the_corrections_are_what_sets_a_node_apart(
    topology: dict[str, Any], theta: float, clip: float | None, loss: float
) -> None:
    vectors = VECTORS[: topology["nodes"]]
    found = Consensus(topology, theta, clip).run(vectors, 600, loss)
    torch.testing.assert_close(found, vectors.mean(0) - vectors, rtol=0, atol=1e-9)


def test_it_is_faster_than_averaging_on_a_ring() -> None:
    """Ten rounds, with a d that is known from the start."""
    consensus = Consensus(RING)
    consensus.trackers = [
        tracker._replace(mean=vector) for tracker, vector in zip(consensus.trackers, VECTORS, strict=True)
    ]
    apart = VECTORS.mean(0) - VECTORS
    mixing = torch.tensor(consensus.topology.weights(0).matrix().toarray())
    averaged = torch.linalg.matrix_power(mixing, 10) @ VECTORS - VECTORS
    assert (consensus.run(VECTORS, 10) - apart).norm() < 0.4 * (averaged - apart).norm()


def test_a_round_without_a_step_leaves_the_mean() -> None:
    consensus = Consensus({"name": "path", "nodes": 3})
    consensus.run(VECTORS[:3], 5)
    before = consensus.trackers[0]
    weights, messages = torch.ones(1, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    nothing = torch.zeros(1, dtype=torch.int64)
    headers = Headers(torch.tensor([False]), nothing, nothing, torch.tensor([False]))
    after = after_messages(before, consensus.views[0], weights, messages, headers, 1.0, None)
    torch.testing.assert_close((after.mean, after.dual), (before.mean, before.dual), rtol=0, atol=0)


def test_a_gradient_counts_with_four_times_the_usual_length_at_most() -> None:
    """The usual length is a geometric mean, computed here by its logarithm; zeros and infinities leave it."""
    view = Consensus({"name": "path", "nodes": 2}).views[0]
    weights, messages = torch.ones(1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    nothing = torch.zeros(1, dtype=torch.int64)
    headers = Headers(torch.tensor([False]), nothing, nothing, torch.tensor([False]))
    tracker = start_edge_tracker(torch.zeros(2, dtype=torch.float64), view)
    way, usual, mean = torch.tensor([0.6, 0.8], dtype=torch.float64), 5.0, torch.zeros(2, dtype=torch.float64)
    for length in (5.0, 3.0, 400.0, 0.0, 22.0, 1.0):
        for share in (0.5, 1.5):  # of two steps
            tracker = with_gradient(tracker, share * length * way)
        tracker = after_messages(tracker, view, weights, messages, headers, 1.0, None)
        mean = 0.7 * mean + 0.3 * min(length, 4 * usual) * way
        usual = usual if length == 0 else math.exp(0.9 * math.log(usual) + 0.1 * math.log(length))
        torch.testing.assert_close((tracker.mean, float(tracker.length)), (mean, usual))
    lost = after_messages(with_gradient(tracker, way / 0), view, weights, messages, headers, 1.0, None)
    assert lost.length == tracker.length
