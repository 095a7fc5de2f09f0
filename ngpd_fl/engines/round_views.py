"""The graphs of many rounds at once, for nodes in rounds of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ngpd_fl.clock import Read, Work
from ngpd_fl.engines.blocks import Block
from strategies import RoundView
from topologies import Topology


class _Graph(NamedTuple):
    """The graph of one round; arrays over directed edges have 2 E + 1 entries, the last for "no edge".

    Attributes:
        active: bool ``[2 E + 1]``.
        weight: what the edge's receiver gives to its sender's value, float64 ``[2 E + 1]``.
        weight_own: W_ii, float64 ``[N]``.
    """

    active: NDArray[np.bool_]
    weight: NDArray[np.float64]
    weight_own: NDArray[np.float64]


class RoundViews:
    """What nodes know of the graphs of their rounds."""

    def __init__(self, topology: Topology, blocks: Sequence[Block], dtype: torch.dtype, device: torch.device) -> None:
        """Take the graph and its schedule, how its nodes are stacked, and the type and the place of the weights."""
        self._topology = topology
        self._edges = {}  # of each node, on the host: by slot, on which it sends and on which it receives
        for block in blocks:
            rows = zip(block.nodes.tolist(), block.out_edge.cpu().numpy(), block.in_edge.cpu().numpy(), strict=True)
            self._edges.update({node: edges for node, *edges in rows})
        self._dtype = dtype
        self._device = device
        self._graph = lru_cache(maxsize=256)(self._find)

    def views(self, events: Sequence[Work] | Sequence[Read]) -> RoundView:
        """Return what nodes of one block know of the rounds that their events are about; every field ``[n, ...]``.

        A message weighs what it weighs in its sender's round. Where messages of other rounds are among them, their
        weights might exceed one in sum: of h messages it is h / (h + 1) at most, to which they are scaled down.
        """
        nodes = np.array([event.node for event in events])
        out_edge, in_edge = (
            np.stack(part) for part in zip(*(self._edges[event.node] for event in events), strict=True)
        )
        rounds = np.array([event.round for event in events])
        sends, receives = np.empty(out_edge.shape, dtype=bool), np.empty(out_edge.shape, dtype=bool)
        weight_in, weight_out = np.empty(out_edge.shape), np.empty(out_edge.shape)
        weight_own = np.empty(len(nodes))
        for round in np.unique(rounds) if self._topology.period != 1 else rounds[:1]:
            rows = rounds == round if self._topology.period != 1 else np.ones(len(rounds), dtype=bool)
            graph = self._graph(int(round))
            sends[rows], receives[rows] = graph.active[out_edge[rows]], graph.active[in_edge[rows]]
            weight_in[rows], weight_out[rows] = graph.weight[in_edge[rows]], graph.weight[out_edge[rows]]
            weight_own[rows] = graph.weight_own[nodes[rows]]
        if self._topology.period != 1:
            for row, event in enumerate(events):
                if isinstance(event, Read) and any(taken.round != event.round for taken in event.taken):
                    weight_in[row] = self._weights_of(event, in_edge[row])
        return RoundView(
            torch.as_tensor(rounds, device=self._device),
            *(torch.as_tensor(each, device=self._device) for each in (sends, receives)),
            *(
                torch.as_tensor(each, dtype=self._dtype, device=self._device)
                for each in (weight_own, weight_in, weight_out)
            ),
        )

    def _weights_of(self, read: Read, in_edge: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what a node gives to messages of several rounds, by slot, ``[D]``; 0 where it takes none."""
        weights = np.zeros(len(in_edge))
        for taken in read.taken:
            weights[in_edge == taken.edge] = self._graph(taken.round).weight[taken.edge]
        most = len(read.taken) / (len(read.taken) + 1)
        total = float(weights.sum())
        return weights if total <= most else weights * (most / total)

    def _find(self, round: int) -> _Graph:
        weights = self._topology.weights(round)
        # weights.edge[e] = (W_ij, W_ji): i receives on directed edge 2 e + 1, j on 2 e.
        weight = np.append(weights.edge[:, ::-1].reshape(-1), 0.0)
        return _Graph(np.append(self._topology.sent(round), False), weight, weights.own)
