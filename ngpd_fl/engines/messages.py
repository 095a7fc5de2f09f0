"""Messages between their sending and their reading, each field in one buffer: one copy in, one gather out.

A field with one value per edge takes a row for every message, any other one a row for each sender, which the messages
to its neighbors share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from strategies.contract import Message

Payload = dict[str, dict[int, Tensor]]
"""Field of a message -> source -> value. The source of a field with one value per edge is a directed edge, that of any
other a node."""

Key = tuple[int, int]
"""A message: its directed edge, and how many were sent over it before."""


class InFlightMessages:
    """Messages that are kept until they are forgotten; row 0 is zero: what a slot without a message reads."""

    def __init__(self, per_edge: tuple[str, ...], example: Message) -> None:
        """Start without messages.

        Args:
            per_edge: the fields with one value per edge.
            example: messages of any nodes, as ``put`` takes them.
        """
        self._per_edge = per_edge
        self._edge_rows, self._node_rows = _MessageRows(), _MessageRows()
        self._message: type[Any] = type(example)
        self._buffers: dict[str, Tensor] = {
            name: value.new_zeros((1, *value.shape[2 if name in per_edge else 1 :]))
            for name, value in example._asdict().items()
        }

    def __contains__(self, key: Key) -> bool:
        """Return whether a message is here."""
        return key in self._edge_rows.of_key

    def put(self, message: Message, slots: Sequence[tuple[int, int, Key]]) -> None:
        """Store messages of n nodes with D slots.

        Args:
            message: each field ``[n, D, ...]`` or ``[n, ...]``.
            slots: for each message that is to be kept: the node's row, its slot, and what it is kept as.
        """
        keys = [key for _, _, key in slots]
        nodes: dict[int, int] = {}
        index = []
        for row, _, _ in slots:
            index.append(nodes.setdefault(row, len(nodes)))
        edge_rows = self._edge_rows.take(keys, list(range(len(keys))))
        node_rows = self._node_rows.take(keys, index)
        for name, value in message._asdict().items():
            if name in self._per_edge:
                num_slots = value.shape[1]
                source, rows = [row * num_slots + slot for row, slot, _ in slots], edge_rows
                value = value.flatten(0, 1)
            else:
                source, rows = list(nodes), node_rows
            buffer = self._room(name, 1 + max(rows, default=0))
            if source != list(range(len(value))):
                value = value.index_select(0, _index(source, value.device))
            buffer.index_copy_(0, _index(rows, value.device), value)

    def take(self, keys: Sequence[Sequence[Key | None]]) -> Message:
        """Return the inbox of n nodes, every field ``[n, D, ...]``; zeros where a slot has no key."""
        fields = {}
        for name, buffer in self._buffers.items():
            of_key = self._rows(name).of_key
            rows = [[0 if key is None else of_key[key] for key in row] for row in keys]
            fields[name] = gather(buffer, _index(rows, buffer.device))
        return self._message(**fields)

    def forget(self, key: Key) -> None:
        """Discard a message."""
        self._edge_rows.give_back(key)
        self._node_rows.give_back(key)

    def state(self) -> tuple[dict[str, Tensor], list[list[int]]]:
        """Return what is here, each field's values, and of each message its key and its places among them."""
        edge_rows, edge_place = self._edge_rows.used()
        node_rows, node_place = self._node_rows.used()
        values = {
            name: buffer.index_select(0, _index(edge_rows if name in self._per_edge else node_rows, buffer.device))
            for name, buffer in self._buffers.items()
        }
        keys = self._edge_rows.of_key
        return values, [[*key, edge_place[row], node_place[self._node_rows.of_key[key]]] for key, row in keys.items()]

    def load(self, values: Mapping[str, Tensor], keys: Sequence[Sequence[int]]) -> None:
        """Restore what ``state`` returned; raise ``ValueError`` where these are other messages."""
        self._edge_rows, self._node_rows = _MessageRows(), _MessageRows()
        names = [(edge, sequence) for edge, sequence, _, _ in keys]
        self._edge_rows.take(names, [edge_place for _, _, edge_place, _ in keys])
        self._node_rows.take(names, [node_place for _, _, _, node_place in keys])
        for name, buffer in self._buffers.items():
            if name not in values or values[name].shape[1:] != buffer.shape[1:] or values[name].dtype != buffer.dtype:
                raise ValueError(f"messages without {name!r}, or of another shape or type")
            self._buffers[name] = torch.cat([torch.zeros_like(buffer[:1]), values[name].to(buffer.device)])

    def _rows(self, field: str) -> _MessageRows:
        return self._edge_rows if field in self._per_edge else self._node_rows

    def _room(self, name: str, size: int) -> Tensor:
        """Return a field's buffer with at least ``size`` rows."""
        old = self._buffers[name]
        if len(old) < size:
            self._buffers[name] = old.new_zeros((max(size, len(old) * 5 // 4), *old.shape[1:]))
            self._buffers[name][: len(old)] = old
        return self._buffers[name]


def gather(buffer: Tensor, rows: Tensor) -> Tensor:
    """Return the buffer's rows ``rows [n, D]`` as a field of an inbox, ``[n, D, ...]``."""
    return buffer.index_select(0, rows.flatten()).view(*rows.shape, *buffer.shape[1:])


def _index(rows: Sequence[Any], device: torch.device) -> Tensor:
    return torch.as_tensor(np.array(rows, dtype=np.int64), device=device)


class _MessageRows:
    """The row of each message, and the rows that are free; row 0 is never given."""

    def __init__(self) -> None:
        self.of_key: dict[Key, int] = {}
        self._uses: dict[int, int] = {}
        self._free: list[int] = []

    def take(self, keys: Sequence[Key], groups: Sequence[int]) -> list[int]:
        """Give each group of keys a row of its own; return the rows of groups 0, 1, ..."""
        rows: list[int] = []
        for key, group in zip(keys, groups, strict=True):
            if group == len(rows):
                rows.append(self._free.pop() if self._free else 1 + len(self._uses))
                self._uses[rows[group]] = 0
            self.of_key[key] = rows[group]
            self._uses[rows[group]] += 1
        return rows

    def used(self) -> tuple[list[int], dict[int, int]]:
        """Return the rows in use, in the order in which their first messages came, and the place of each there."""
        rows = list(dict.fromkeys(self.of_key.values()))
        return rows, {row: place for place, row in enumerate(rows)}

    def give_back(self, key: Key) -> None:
        row = self.of_key.pop(key)
        self._uses[row] -= 1
        if self._uses[row] == 0:
            self._free.append(row)
