"""Blocks: nodes with about the same number of neighbors, stacked.

Directed edges are numbered as in ``core.directed_edges``. One number more, 2 E, stands for "no edge": spare slots point
to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.core.directed_edges import receivers, reverse, senders
from strategies import View
from topologies import Topology

EdgePenalty = Callable[[int, int], float]
"""``(degree, neighbor_degree) -> eta_ij``."""


class Block(NamedTuple):
    """n nodes that are computed at once, with D slots each.

    Attributes:
        nodes: their indices in the graph, int64 ``[n]``.
        view: their views, every field with a leading axis n.
        out_edge: directed edge on which a slot sends, int64 ``[n, D]``.
        in_edge: directed edge on which a slot receives, int64 ``[n, D]``.
    """

    nodes: Tensor
    view: View
    out_edge: Tensor
    in_edge: Tensor


def make_blocks(
    topology: Topology,
    edge_penalty: EdgePenalty,
    chunk_size: int | None,
    like: Tensor,
    nodes: Sequence[int] | None = None,
    compute_devices: Sequence[torch.device] = (),
) -> list[Block]:
    """Return blocks that together hold every node once.

    A block holds nodes whose degrees lie within a factor of two, so that a hub does not give every leaf spare slots.
    The nodes come in the same order, and with the same slots, however many blocks and devices there are. Each device
    has as many of them as any other, one after another: on most graphs neighbors are close.

    Args:
        topology: the graph.
        edge_penalty: of its edges.
        chunk_size: most nodes in a block. Defaults to all.
        like: a tensor with the dtype of the blocks, and their device if ``compute_devices`` names none.
        nodes: their indices. Defaults to all nodes.
        compute_devices: the torch devices among which the blocks are divided.
    """
    members = np.arange(topology.num_nodes) if nodes is None else np.unique(nodes)
    likes = [like.new_empty(0, device=device) for device in compute_devices] or [like]
    neighbors = _neighbors(topology)
    slot_of = {edge: slot for entries in neighbors for slot, (_, edge) in enumerate(entries)}
    etas = _edge_penalties(topology, edge_penalty)
    blocks, done = [], 0
    for group in _by_degree(topology.degrees, members):
        slots = int(topology.degrees[group].max())
        ends = [len(members) * number // len(likes) - done for number in range(1, len(likes))]
        done += len(group)
        for part, here in zip(np.split(group, np.clip(ends, 0, len(group))), likes, strict=True):
            chunks = np.array_split(part, -(-len(part) // (chunk_size or len(part)))) if len(part) else []
            blocks += [_block(chunk, slots, neighbors, slot_of, etas, here) for chunk in chunks]
    return blocks


def _by_degree(degrees: np.ndarray, nodes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the nodes with degree up to 1, 2, 3 to 4, 5 to 8, ..., as far as there are any."""
    classes = np.ceil(np.log2(np.maximum(degrees[nodes], 1))).astype(int)
    for value in np.unique(classes):
        yield nodes[classes == value]


def _neighbors(topology: Topology) -> list[list[tuple[int, int]]]:
    """Return each node's (neighbor, outgoing directed edge) by ascending neighbor: the order of its slots."""
    lists: list[list[tuple[int, int]]] = [[] for _ in range(topology.num_nodes)]
    ends = zip(senders(topology.edges).tolist(), receivers(topology.edges).tolist(), strict=True)
    for edge, (sender, receiver) in enumerate(ends):
        lists[sender].append((receiver, edge))
    return [sorted(entries) for entries in lists]


def _edge_penalties(topology: Topology, edge_penalty: EdgePenalty) -> list[float]:
    """Return eta of every edge; it is computed once per edge, hence the same at both ends."""
    pairs = topology.degrees[topology.edges].tolist()
    known: dict[tuple[int, int], float] = {}
    return [known.setdefault((low, high), edge_penalty(low, high)) for low, high in pairs]


def _block(
    nodes: np.ndarray,
    slots: int,
    neighbors: list[list[tuple[int, int]]],
    slot_of: dict[int, int],
    etas: list[float],
    like: Tensor,
) -> Block:
    shape = (len(nodes), slots)
    no_edge = 2 * len(etas)
    exists = np.zeros(shape, dtype=bool)
    neighbor = np.repeat(nodes[:, None], slots, axis=1)
    slot_back = np.zeros(shape, dtype=np.int64)
    sign, penalty = np.zeros(shape), np.zeros(shape)
    out_edge = np.full(shape, no_edge, dtype=np.int64)
    for row, node in enumerate(nodes.tolist()):
        for slot, (other, edge) in enumerate(neighbors[node]):
            exists[row, slot] = True
            neighbor[row, slot] = other
            slot_back[row, slot] = slot_of[reverse(edge)]
            sign[row, slot] = 1.0 if node < other else -1.0
            penalty[row, slot] = etas[edge // 2]
            out_edge[row, slot] = edge
    in_edge = np.where(exists, reverse(out_edge), no_edge)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=like.dtype if array.dtype.kind == "f" else None, device=like.device)

    view = View(
        node=tensor(nodes),
        num_nodes=tensor(np.full(len(nodes), len(neighbors))),
        exists=tensor(exists),
        neighbor=tensor(neighbor),
        reverse=tensor(slot_back),
        sign=tensor(sign),
        edge_penalty=tensor(penalty),
    )
    return Block(tensor(nodes), view, tensor(out_edge), tensor(in_edge))
