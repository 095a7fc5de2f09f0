"""The graph of each round by directed edge, and the weights of messages that come in other rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.directed_edges import receiver_weights
from topologies import Topology


class RoundGraph(NamedTuple):
    """The graph of one round; arrays over directed edges have 2 E + 1 entries, the last for "no edge".

    Attributes:
        sent: directed edges on which a message is sent, bool ``[2 E + 1]``.
        weight: what the edge's receiver gives to its sender's value, float64 ``[2 E + 1]``.
        weight_own: W_ii, float64 ``[N]``.
    """

    sent: NDArray[np.bool_]
    weight: NDArray[np.float64]
    weight_own: NDArray[np.float64]


class RoundGraphs:
    """The graphs of a schedule's rounds, kept once they are known.

    Attributes:
        is_static: whether all rounds have one graph.
    """

    def __init__(self, topology: Topology) -> None:
        """Start with none known."""
        self.is_static = topology.period == 1
        self._topology = topology
        self._graph = lru_cache(maxsize=256)(self._make)

    def __call__(self, round: int) -> RoundGraph:
        """Return the graph of a round."""
        return self._graph(0 if self.is_static else round)

    def weights_of(self, edges: Sequence[int], rounds: Sequence[int]) -> NDArray[np.float64]:
        """Return the weights of the messages that one node takes in, each of its sender's round, ``[h]``.

        A message weighs what it weighs in its sender's round. So the weights of messages of several rounds might exceed
        one in sum: of h messages it is h / (h + 1) at most, to which they are scaled down.
        """
        weights = np.array([self(round).weight[edge] for edge, round in zip(edges, rounds, strict=True)])
        most, total = len(edges) / (len(edges) + 1), float(weights.sum())
        return weights if total <= most else weights * (most / total)

    def _make(self, round: int) -> RoundGraph:
        weights = self._topology.weights(round)
        sent = np.append(self._topology.sent(round), False)
        return RoundGraph(sent, np.append(receiver_weights(weights), 0.0), weights.own)
