"""The messages of one round on their way from all senders to all receivers: one buffer and one gather a field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from ngpd_fl.engines.blocks import Block
from strategies.contract import Message

Letters = dict[str, dict[int, Tensor]]
"""Field of a message -> where from -> value. A field with one value per edge comes from a directed edge, any other
from a node."""


class Mailbox:
    """Holds what was sent in this round by the nodes of some blocks, and what came for them from elsewhere.

    A field with one value per edge lies in a buffer with a row for every directed edge at these nodes, any other in one
    with a row for each of them and of their neighbours. The last row is zero: what a slot without a message reads.
    """

    def __init__(self, per_edge: tuple[str, ...], blocks: Sequence[Block], num_edges: int, num_nodes: int) -> None:
        """Take the fields with one value per edge, the blocks, E and N."""
        self._per_edge = per_edge
        edges = [edge[block.view.exists] for block in blocks for edge in (block.out_edge, block.in_edge)]
        nodes = [node.reshape(-1) for block in blocks for node in (block.nodes, block.view.neighbour)]
        self._edge_row = _rows(torch.cat(edges), 2 * num_edges + 1)
        self._node_row = _rows(torch.cat(nodes), num_nodes + 1)
        self._buffers: dict[str, Tensor] = {}
        self._message: type[Any] = tuple

    def put(self, block: Block, message: Message) -> None:
        """Store a block's messages; each field is ``[n, D, ...]`` or ``[n, ...]``."""
        self._message = type(message)
        for name, value in message._asdict().items():
            rows = self._row(name)
            if name in self._per_edge:
                buffer = self._buffer(name, value.shape[2:], value)
                buffer[rows[block.out_edge[block.view.exists]]] = value[block.view.exists]
            else:
                buffer = self._buffer(name, value.shape[1:], value)
                buffer.index_copy_(0, rows[block.nodes], value)

    def take(self, block: Block, received: Tensor) -> Message:
        """Return the block's inbox, every field ``[n, D, ...]``; zeros where ``received [n, D]`` is False."""
        fields = {}
        for name, buffer in self._buffers.items():
            source = block.in_edge if name in self._per_edge else block.view.neighbour
            rows = torch.where(received, self._row(name)[source], buffer.shape[0] - 1)
            fields[name] = buffer.index_select(0, rows.flatten()).view(*rows.shape, *buffer.shape[1:])
        return self._message(**fields)

    def letters(self, edges: Sequence[int], nodes: Sequence[int]) -> Letters:
        """Return what goes out over directed ``edges``, and what the senders ``nodes`` say to all."""
        of_fields = {name: edges if name in self._per_edge else nodes for name in self._buffers}
        return {
            name: {source: self._buffers[name][self._row(name)[source]] for source in sources}
            for name, sources in of_fields.items()
            if sources
        }

    def deliver(self, letters: Letters, edges: Collection[int], nodes: Collection[int]) -> None:
        """Put in what came over directed ``edges`` and from ``nodes``, all of them elsewhere; call after ``put``.

        Raises:
            ValueError: a field that these messages do not have, a value of another shape or type, or one from
                anywhere else; nothing was put in.
        """
        for name, values in letters.items():
            if name not in self._buffers:
                raise ValueError(f"a message with a field {name!r}; expected: {', '.join(self._buffers)}")
            buffer, known = self._buffers[name], edges if name in self._per_edge else nodes
            for source, value in values.items():
                if source not in known:
                    raise ValueError(f"a message whose {name!r} comes from number {source}, which is no neighbour")
                if value.shape != buffer.shape[1:] or value.dtype != buffer.dtype:
                    raise ValueError(
                        f"a message whose {name!r} has shape {tuple(value.shape)} and type {value.dtype}; "
                        f"expected {tuple(buffer.shape[1:])} and {buffer.dtype}"
                    )
        for name, values in letters.items():
            for source, value in values.items():
                self._buffers[name][self._row(name)[source]] = value.to(self._buffers[name].device)

    def _row(self, field: str) -> Tensor:
        return self._edge_row if field in self._per_edge else self._node_row

    def _buffer(self, name: str, shape: torch.Size, like: Tensor) -> Tensor:
        if name not in self._buffers:
            rows = int(self._row(name)[-1]) + 1
            self._buffers[name] = like.new_zeros((rows, *shape))
        return self._buffers[name]


def _rows(sources: Tensor, count: int) -> Tensor:
    """Return the row of each of ``count`` sources, int64 ``[count]``; those that are not named share the last one."""
    named = torch.unique(sources)
    rows = torch.full((count,), len(named), dtype=torch.int64, device=sources.device)
    rows[named] = torch.arange(len(named), device=sources.device)
    return rows
