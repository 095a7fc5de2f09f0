"""The graph of each round by directed edge, the weights of messages that come in other rounds, and the nodes' views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.clock import Read, Work
from ngpd_fl.core.directed_edges import receiver_weights
from ngpd_fl.engines.blocks import Block
from strategies import RoundView
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


class RoundViews:
    """Views of the graphs of many rounds at once, for nodes in rounds of their own."""

    def __init__(self, topology: Topology, blocks: Sequence[Block], like: Tensor) -> None:
        """Note the edges of every node.

        Args:
            topology: the graph and its schedule.
            blocks: how its nodes are stacked.
            like: a tensor with the dtype of the weights, on the nodes' device.
        """
        self._graphs = RoundGraphs(topology)
        self._edges = {}  # of each node, on the host: by slot, on which it sends and on which it receives
        for block in blocks:
            rows = zip(block.nodes.tolist(), block.out_edge.cpu().numpy(), block.in_edge.cpu().numpy(), strict=True)
            self._edges.update({node: edges for node, *edges in rows})
        self._like = like

    def views(self, events: Sequence[Work] | Sequence[Read]) -> RoundView:
        """Return what nodes of one block know of the rounds that their events are about; every field ``[n, ...]``.

        The weights of messages of other rounds are those of ``RoundGraphs.weights_of``.
        """
        nodes = np.array([event.node for event in events])
        out_edge, in_edge = (
            np.stack(part) for part in zip(*(self._edges[event.node] for event in events), strict=True)
        )
        rounds = np.array([event.round for event in events])
        sends, receives = np.empty(out_edge.shape, dtype=bool), np.empty(out_edge.shape, dtype=bool)
        weight_in, weight_out = np.empty(out_edge.shape), np.empty(out_edge.shape)
        weight_own = np.empty(len(nodes))
        for round in rounds[:1] if self._graphs.is_static else np.unique(rounds):
            rows = slice(None) if self._graphs.is_static else rounds == round
            graph = self._graphs(int(round))
            sends[rows], receives[rows] = graph.sent[out_edge[rows]], graph.sent[in_edge[rows]]
            weight_in[rows], weight_out[rows] = graph.weight[in_edge[rows]], graph.weight[out_edge[rows]]
            weight_own[rows] = graph.weight_own[nodes[rows]]
        if not self._graphs.is_static:
            for row, event in enumerate(events):
                if isinstance(event, Read) and any(taken.round != event.round for taken in event.taken):
                    edges = [taken.edge for taken in event.taken]
                    weight_in[row] = 0.0
                    slots = [int(np.flatnonzero(in_edge[row] == edge)[0]) for edge in edges]
                    weight_in[row, slots] = self._graphs.weights_of(edges, [taken.round for taken in event.taken])
        flags = (torch.from_numpy(array).to(self._like.device) for array in (sends, receives))
        weights = (torch.from_numpy(array).to(self._like) for array in (weight_own, weight_in, weight_out))
        return RoundView(torch.from_numpy(rounds).to(self._like.device), *flags, *weights)
