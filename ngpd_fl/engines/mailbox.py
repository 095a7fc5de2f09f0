"""The messages of one round on their way from all senders to all receivers: one buffer and one gather a field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ngpd_fl.engines.blocks import Block
from strategies.contract import Message


class Mailbox:
    """Holds what was sent in this round.

    A field with one value per edge lies in a buffer ``[2 E + 1, ...]`` over directed edges, any other in one of
    ``[N + 1, ...]`` over nodes. The last row is zero: what a slot without a message reads.
    """

    def __init__(self, per_edge: tuple[str, ...], num_edges: int, num_nodes: int) -> None:
        """Take the fields with one value per edge, E and N."""
        self._per_edge = per_edge
        self._num_edges = num_edges
        self._num_nodes = num_nodes
        self._buffers: dict[str, Tensor] = {}
        self._message: type[Any] = tuple

    def put(self, block: Block, message: Message) -> None:
        """Store a block's messages; each field is ``[n, D, ...]`` or ``[n, ...]``."""
        self._message = type(message)
        for name, value in message._asdict().items():
            if name in self._per_edge:
                buffer = self._buffer(name, 2 * self._num_edges + 1, value.shape[2:], value)
                buffer[block.out_edge[block.view.exists]] = value[block.view.exists]
            else:
                buffer = self._buffer(name, self._num_nodes + 1, value.shape[1:], value)
                buffer.index_copy_(0, block.nodes, value)

    def take(self, block: Block, received: Tensor) -> Message:
        """Return the block's inbox, every field ``[n, D, ...]``; zeros where ``received [n, D]`` is False."""
        fields = {}
        for name, buffer in self._buffers.items():
            source = block.in_edge if name in self._per_edge else block.view.neighbour
            rows = torch.where(received, source, buffer.shape[0] - 1)
            fields[name] = buffer.index_select(0, rows.flatten()).view(*rows.shape, *buffer.shape[1:])
        return self._message(**fields)

    def bytes_per_message(self) -> int:
        """Return the payload of one message over one directed edge, in bytes."""
        return sum(buffer[0].numel() * buffer.element_size() for buffer in self._buffers.values())

    def _buffer(self, name: str, rows: int, shape: torch.Size, like: Tensor) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = like.new_zeros((rows, *shape))
        return self._buffers[name]
