"""The messages of one round on their way from all senders to all receivers: one buffer and one gather a field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ngpd_fl.engines.blocks import Block
from strategies.contract import Message

Letters = dict[str, dict[int, Tensor]]
"""Field of a message -> where from -> value. A field with one value per edge comes from a directed edge, any other
from a node."""


class RoundMessages:
    """Holds what was sent in this round by the nodes of some blocks, and what came for them from elsewhere.

    A field with one value per edge lies in a buffer with a row for every directed edge at these nodes, any other in one
    with a row for each of them and of their neighbors. The last row is zero: what a slot without a message reads.
    What goes elsewhere and comes from there lies on the host; each field is copied at once.
    """

    def __init__(self, per_edge: tuple[str, ...], blocks: Sequence[Block], num_edges: int, num_nodes: int) -> None:
        """Take the fields with one value per edge, the blocks, E and N."""
        self._per_edge = per_edge
        edges = [edge[block.view.exists] for block in blocks for edge in (block.out_edge, block.in_edge)]
        nodes = [node.reshape(-1) for block in blocks for node in (block.nodes, block.view.neighbor)]
        self._edge_rows = _Rows.of(torch.cat(edges), 2 * num_edges + 1)
        self._node_rows = _Rows.of(torch.cat(nodes), num_nodes + 1)
        self._buffers: dict[str, Tensor] = {}
        self._message: type[Any] = tuple

    def put(self, block: Block, message: Message) -> None:
        """Store a block's messages; each field is ``[n, D, ...]`` or ``[n, ...]``."""
        self._message = type(message)
        for name, value in message._asdict().items():
            sources = block.nodes
            if name in self._per_edge:
                sources, value = block.out_edge.flatten(), value.flatten(0, 1)
            buffer = self._buffer(name, value)
            buffer.index_copy_(0, self._rows(name).here[sources], value)
            buffer[-1].zero_()  # where spare slots have written

    def take(self, block: Block, received: Tensor) -> Message:
        """Return the block's inbox, every field ``[n, D, ...]``; zeros where ``received [n, D]`` is False."""
        fields = {}
        for name, buffer in self._buffers.items():
            source = block.in_edge if name in self._per_edge else block.view.neighbor
            rows = torch.where(received, self._rows(name).here[source], buffer.shape[0] - 1)
            fields[name] = buffer.index_select(0, rows.flatten()).view(*rows.shape, *buffer.shape[1:])
        return self._message(**fields)

    def letters(self, edges: Sequence[int], nodes: Sequence[int]) -> Letters:
        """Return what goes out over directed ``edges``, and what the senders ``nodes`` say to all."""
        of_fields = {name: edges if name in self._per_edge else nodes for name in self._buffers}
        return {
            name: dict(zip(sources, self._buffers[name][self._places(name, sources)].cpu(), strict=True))
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
                    raise ValueError(f"a message whose {name!r} comes from number {source}, which is no neighbor")
                if value.shape != buffer.shape[1:] or value.dtype != buffer.dtype:
                    raise ValueError(
                        f"a message whose {name!r} has shape {tuple(value.shape)} and type {value.dtype}; "
                        f"expected {tuple(buffer.shape[1:])} and {buffer.dtype}"
                    )
        for name, values in letters.items():
            if values:
                buffer = self._buffers[name]
                buffer.index_copy_(
                    0, self._places(name, list(values)), torch.stack(list(values.values())).to(buffer.device)
                )

    def _rows(self, field: str) -> _Rows:
        return self._edge_rows if field in self._per_edge else self._node_rows

    def _places(self, field: str, sources: Sequence[int]) -> Tensor:
        """Return the rows of these sources of a field on the device, in one copy."""
        rows = self._rows(field)
        return rows.known[sources].to(rows.here.device)

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = like.new_zeros((int(self._rows(name).known[-1]) + 1, *like.shape[1:]))
        return self._buffers[name]


class _Rows(NamedTuple):
    """The row of each source, int64 ``[sources]``, on the host and on the device; sources not named share the last."""

    known: Tensor
    here: Tensor

    @classmethod
    def of(cls, named: Tensor, count: int) -> _Rows:
        """Give each of the sources that are ``named``, out of ``count``, a row of its own."""
        distinct = torch.unique(named.cpu())
        known = torch.full((count,), len(distinct))
        known[distinct] = torch.arange(len(distinct))
        return cls(known, known.to(named.device))
