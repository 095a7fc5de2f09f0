"""The messages of one round between stacked nodes, on each device those that its nodes send or read.

A field with one value per edge lies in a buffer with a row for every directed edge at a device's nodes, any other in
one with a row for each of these nodes and of their neighbors. The last row is zero: what a slot without a message
reads.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.engines.blocks import Block
from ngpd_fl.engines.messages import Payload, gather
from strategies.contract import Message


class RoundMessages:
    """Messages that the nodes of some blocks sent in this round, and those that came from other processes.

    ``put`` what all blocks send, ``exchange``, then ``take``. Only messages between nodes on different devices move,
    all from one device to another at once. What goes to other processes and comes from them lies on the host.
    """

    def __init__(self, per_edge: tuple[str, ...], blocks: Sequence[Block], num_edges: int, num_nodes: int) -> None:
        """Start without messages.

        Args:
            per_edge: the fields with one value per edge.
            blocks: the nodes.
            num_edges: E.
            num_nodes: N.
        """
        of_device: dict[torch.device, list[Block]] = {}
        for block in blocks:
            of_device.setdefault(block.nodes.device, []).append(block)
        self._on = {device: _DeviceMessages(per_edge, here, num_edges, num_nodes) for device, here in of_device.items()}
        self._crossings = [_Crossing.of(source, target) for source, target in permutations(self._on.values(), 2)]

    def num_rows(self, field: str) -> int:
        """Return how many values of a field there is room for, on all devices."""
        return sum(messages.rows(field).unused + 1 for messages in self._on.values())

    def put(self, block: Block, message: Message) -> None:
        """Store a block's messages; each field is ``[n, D, ...]`` or ``[n, ...]``."""
        self._on[block.nodes.device].put(block, message)

    def exchange(self) -> None:
        """Copy the messages between nodes on different devices."""
        for crossing in self._crossings:
            crossing.copy()

    def take(self, block: Block, received: Tensor) -> Message:
        """Return the block's inbox, every field ``[n, D, ...]``; zeros where ``received [n, D]`` is False."""
        return self._on[block.nodes.device].take(block, received)

    def payload(self, edges: Sequence[int], nodes: Sequence[int]) -> Payload:
        """Return what goes out over directed ``edges``, and what the senders ``nodes`` send to all."""
        payload: Payload = {}
        for messages in self._on.values():
            for name, values in messages.payload(edges, nodes):
                payload.setdefault(name, {}).update(values)
        return payload

    def deliver(self, payload: Payload, edges: Collection[int], nodes: Collection[int]) -> None:
        """Store what came over directed ``edges`` and from ``nodes``, all of other processes; call after ``put``.

        Raises:
            ValueError: a field that these messages do not have, a value of another shape or type, or one from
                anywhere else; nothing was put in.
        """
        for messages in self._on.values():  # the first one refuses what any of them would
            messages.deliver(payload, edges, nodes)

    def has_field(self, name: str) -> bool:
        """Return whether messages have a field."""
        return all(name in messages.buffers for messages in self._on.values())

    def is_whole(self, payload: Payload, edge: int, node: int) -> bool:
        """Return whether the message over a directed edge from ``node`` has all fields, as they must be, and finite."""
        messages = next(iter(self._on.values()))
        for name, buffer in messages.buffers.items():
            value = payload.get(name, {}).get(edge if name in messages.per_edge else node)
            if value is None or value.shape != buffer.shape[1:] or value.dtype != buffer.dtype:
                return False
            if not value.isfinite().all():
                return False
        return True


class _DeviceMessages:
    """The messages on one device."""

    def __init__(self, per_edge: tuple[str, ...], blocks: Sequence[Block], num_edges: int, num_nodes: int) -> None:
        self.per_edge = per_edge
        out_edges, in_edges, neighbors = (
            torch.cat([field[block.view.exists] for block, field in zip(blocks, fields, strict=True)])
            for fields in (
                [block.out_edge for block in blocks],
                [block.in_edge for block in blocks],
                [block.view.neighbor for block in blocks],
            )
        )
        self.edge_rows = _SourceRows.of(out_edges, in_edges, 2 * num_edges + 1)
        self.node_rows = _SourceRows.of(torch.cat([block.nodes for block in blocks]), neighbors, num_nodes + 1)
        self.buffers: dict[str, Tensor] = {}
        self._lock = threading.Lock()
        self._message: type[Any] = tuple

    def put(self, block: Block, message: Message) -> None:
        self._message = type(message)
        for name, value in message._asdict().items():
            sources = block.nodes
            if name in self.per_edge:
                sources, value = block.out_edge.flatten(), value.flatten(0, 1)
            buffer = self._buffer(name, value)
            buffer.index_copy_(0, self.rows(name).on_device[sources], value)
            buffer[-1].zero_()  # where spare slots have written

    def take(self, block: Block, received: Tensor) -> Message:
        fields = {}
        for name, buffer in self.buffers.items():
            source = block.in_edge if name in self.per_edge else block.view.neighbor
            rows = torch.where(received, self.rows(name).on_device[source], buffer.shape[0] - 1)
            fields[name] = gather(buffer, rows)
        return self._message(**fields)

    def payload(self, edges: Sequence[int], nodes: Sequence[int]) -> Iterator[tuple[str, dict[int, Tensor]]]:
        """Yield each field with what the nodes here send."""
        for name, buffer in self.buffers.items():
            rows = self.rows(name)
            if sources := rows.sent_here(edges if name in self.per_edge else nodes):
                yield name, dict(zip(sources, buffer[rows.of_sources(sources)].cpu(), strict=True))

    def deliver(self, payload: Payload, edges: Collection[int], nodes: Collection[int]) -> None:
        for name, values in payload.items():
            if name not in self.buffers:
                raise ValueError(f"a message with a field {name!r}; expected: {', '.join(self.buffers)}")
            self._check(name, values, edges if name in self.per_edge else nodes)
        for name, values in payload.items():
            buffer, rows = self.buffers[name], self.rows(name)
            if sources := rows.read_here(list(values)):
                stacked = torch.stack([values[source] for source in sources])
                buffer.index_copy_(0, rows.of_sources(sources), stacked.to(buffer.device))

    def rows(self, field: str) -> _SourceRows:
        """Return the rows of a field."""
        return self.edge_rows if field in self.per_edge else self.node_rows

    def _check(self, name: str, values: Mapping[int, Tensor], known: Collection[int]) -> None:
        """Raise ``ValueError`` where values of a field cannot be those of messages from elsewhere."""
        buffer = self.buffers[name]
        for source, value in values.items():
            if source not in known:
                raise ValueError(f"a message whose {name!r} comes from number {source}, which is no neighbor")
            if value.shape != buffer.shape[1:] or value.dtype != buffer.dtype:
                raise ValueError(
                    f"a message whose {name!r} has shape {tuple(value.shape)} and type {value.dtype}; "
                    f"expected {tuple(buffer.shape[1:])} and {buffer.dtype}"
                )

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        with self._lock:  # blocks are put in by several threads
            if name not in self.buffers:
                self.buffers[name] = like.new_zeros((self.rows(name).unused + 1, *like.shape[1:]))
            return self.buffers[name]


class _Crossing(NamedTuple):
    """The messages from the nodes on one device to those on another: for edges and nodes their rows there and here."""

    source: _DeviceMessages
    target: _DeviceMessages
    edges: tuple[Tensor, Tensor]
    nodes: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, source: _DeviceMessages, target: _DeviceMessages) -> _Crossing:
        edges = target.edge_rows.shared_with(source.edge_rows)
        return cls(source, target, edges, target.node_rows.shared_with(source.node_rows))

    def copy(self) -> None:
        for name, buffer in self.target.buffers.items():
            there, here = self.edges if name in self.target.per_edge else self.nodes
            if len(here):
                values = self.source.buffers[name].index_select(0, there)
                buffer.index_copy_(0, here, values.to(buffer.device))


class _SourceRows(NamedTuple):
    """The row of each source, int64 ``[sources]``, on the host and on the device; sources not named share the last.

    Attributes:
        on_host: the rows.
        on_device: the same.
        is_sent: whether a node here sends it, bool ``[sources]``.
        unused: the last row.
    """

    on_host: Tensor
    on_device: Tensor
    is_sent: NDArray[np.bool_]
    unused: int

    @classmethod
    def of(cls, sent: Tensor, read: Tensor, count: int) -> _SourceRows:
        """Give each source that is ``sent`` or ``read`` here, out of ``count``, a row of its own."""
        distinct = torch.unique(torch.cat([sent, read]).cpu())
        rows = torch.full((count,), len(distinct))
        rows[distinct] = torch.arange(len(distinct))
        is_sent = np.zeros(count, dtype=bool)
        is_sent[sent.cpu().numpy()] = True
        return cls(rows, rows.to(sent.device), is_sent, len(distinct))

    def sent_here(self, sources: Sequence[int]) -> list[int]:
        """Return those of the sources that nodes here send."""
        return [source for source in sources if self.is_sent[source]]

    def read_here(self, sources: Sequence[int]) -> list[int]:
        """Return those of the sources that have a row here."""
        has_row = (self.on_host[sources] != self.unused).tolist()
        return [source for source, here in zip(sources, has_row, strict=True) if here]

    def shared_with(self, other: _SourceRows) -> tuple[Tensor, Tensor]:
        """Return the rows, there and here, of what nodes of another device send and nodes here read; ``[m]`` each."""
        sources = self.read_here(np.flatnonzero(other.is_sent).tolist())
        return other.of_sources(sources), self.of_sources(sources)

    def of_sources(self, sources: Sequence[int]) -> Tensor:
        """Return the rows of sources on the device, in one copy."""
        return self.on_host[sources].to(self.on_device.device)
