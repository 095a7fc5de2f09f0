"""Frames between two processes: one per message, with a fixed header and the raw numbers.

    checksum    CRC-32 of all that follows                                                   4 bytes
    head        ``Head``, little-endian                                                      64 bytes
    shapes      for each field of the message: type, number of dimensions, the dimensions    2 + 4 d bytes
    numbers     each field's numbers, one after another, little-endian

Nothing is pickled, and nothing is read before the checksum, the run and the edge have been checked. A frame that is not
exactly as expected is refused, for one of ``REASONS``.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.core.directed_edges import EdgeHeader
from strategies import sent_dtype
from strategies.contract import Message

VERSION = 2
_MAGIC = b"NGPD"
_CHECKSUM = struct.Struct("<I")
_HEAD = struct.Struct("<4sBBH16sIIIiQQQ")
HEADER_BYTES = _CHECKSUM.size + _HEAD.size
"""Length of a frame without a message."""

_TYPES = {torch.float32: 1, torch.float64: 2, torch.float16: 3, torch.bfloat16: 4, torch.int32: 5, torch.uint8: 6}

REASONS = ("format", "checksum", "run", "edge", "shape", "not finite", "header", "replayed")
"""Reasons for refusing a frame, in this order: it is no frame of this version, it was altered, it belongs to another
run, it came over another edge, its arrays have another shape or type, they hold nan or inf, its header is impossible,
or it is no newer than an earlier frame."""


class InvalidFrame(Exception):
    """A frame that is refused; the text is one of ``REASONS``."""


class Kind(IntEnum):
    """Purpose of a frame."""

    MESSAGE = 0
    """The message of a node over an edge in a round."""
    HELLO = 1
    """The sender is running."""
    BYE = 2
    """The sender leaves: no neighbor needs to wait for it."""


class Head(NamedTuple):
    """Head of a frame: everything but the message's content.

    Attributes:
        kind: the purpose.
        edge: the directed edge.
        header: the header of the message; ``sequence`` counts the messages of this incarnation. Frames without a
            message have only a round.
        incarnation: that of its sender, the start of its process (``incarnation.py``). One that was killed may go back
            to an earlier state.
        receiver_incarnation: in a message, the incarnation of the receiver to which ``header`` refers; in other frames
            the latest known one. 0 if none is known.
    """

    kind: Kind
    edge: int
    header: EdgeHeader
    incarnation: int = 1
    receiver_incarnation: int = 0


class Frame(NamedTuple):
    """A received frame: its head, and the fields of the message by name; without a message there are none."""

    head: Head
    fields: dict[str, Tensor]


class Codec:
    """Writes and reads the frames of one run.

    Attributes:
        message_bytes: length of a frame with a message; no frame is longer.
    """

    def __init__(self, run: bytes, message: Message, dtype: torch.dtype | None = None) -> None:
        """Set the parts that all frames have in common.

        Args:
            run: 16 bytes that identify the run.
            message: an example of a message over one edge: names, shapes and types of its fields.
            dtype: type in which real numbers are sent. Defaults to their own type.
        """
        self._run = run
        self._like: dict[str, Tensor] = {name: value.cpu() for name, value in message._asdict().items()}
        self._dtypes = {name: sent_dtype(value, dtype) for name, value in self._like.items()}
        self._shapes = b"".join(_shape(value.shape, self._dtypes[name]) for name, value in self._like.items())
        self._sizes = {name: value.numel() * self._dtypes[name].itemsize for name, value in self._like.items()}
        self.message_bytes = HEADER_BYTES + len(self._shapes) + sum(self._sizes.values())

    def write(self, head: Head, fields: dict[str, Tensor] | None = None) -> list[bytes | memoryview]:
        """Return a frame as consecutive pieces; ``fields`` are those of its message."""
        kind, edge, (sequence, newest, bitmap, round), incarnation, receiver_incarnation = head
        packed = _HEAD.pack(
            _MAGIC,
            VERSION,
            kind,
            len(fields or ()),
            self._run,
            edge,
            round,
            sequence,
            newest,
            bitmap,
            incarnation,
            receiver_incarnation,
        )
        pieces: list[bytes | memoryview] = [packed]
        if fields:
            sent = (fields[name].detach().to("cpu", dtype, copy=True) for name, dtype in self._dtypes.items())
            pieces += [self._shapes, *map(_bytes, sent)]  # copies: the node goes on computing meanwhile
        return [_CHECKSUM.pack(_checksum(pieces)), *pieces]

    def read(self, edge: int, frame: memoryview) -> Frame:
        """Return the frame that came over a directed edge.

        Raises:
            InvalidFrame: the frame is refused.
        """
        if len(frame) < HEADER_BYTES:
            raise InvalidFrame("format")
        magic, version, kind, fields, run, edge_of_frame, *numbers = _HEAD.unpack_from(frame, _CHECKSUM.size)
        round, sequence, newest, bitmap, incarnation, receiver_incarnation = numbers
        is_message = kind == Kind.MESSAGE
        if magic != _MAGIC or version != VERSION or kind not in tuple(Kind) or fields != is_message * len(self._like):
            raise InvalidFrame("format")
        if run != self._run:
            raise InvalidFrame("run")
        if edge_of_frame != edge:
            raise InvalidFrame("edge")
        if len(frame) != (self.message_bytes if is_message else HEADER_BYTES):
            raise InvalidFrame("shape")
        if _CHECKSUM.unpack_from(frame)[0] != _checksum([frame[_CHECKSUM.size :]]):
            raise InvalidFrame("checksum")
        head = Head(Kind(kind), edge, EdgeHeader(sequence, newest, bitmap, round), incarnation, receiver_incarnation)
        return Frame(head, self._fields(frame[HEADER_BYTES:]))

    def _fields(self, content: memoryview) -> dict[str, Tensor]:
        """Return a message's fields in memory of their own."""
        if not content:
            return {}
        if content[: len(self._shapes)] != self._shapes:
            raise InvalidFrame("shape")
        fields, at = {}, len(self._shapes)
        for name, like in self._like.items():
            value = torch.empty(like.shape, dtype=self._dtypes[name])
            _bytes(value)[:] = content[at : at + self._sizes[name]]
            if value.numel() and not torch.stack(torch.aminmax(value)).isfinite().all():  # nan is both
                raise InvalidFrame("not finite")
            fields[name] = value.to(like.dtype)
            at += self._sizes[name]
        return fields


def _shape(shape: Sequence[int], dtype: torch.dtype) -> bytes:
    return struct.pack(f"<BB{len(shape)}I", _TYPES[dtype], len(shape), *shape)


def _bytes(value: Tensor) -> memoryview:
    """Return a contiguous tensor's memory, which it shares."""
    assert sys.byteorder == "little"
    return memoryview(value.contiguous().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _checksum(pieces: Sequence[bytes | memoryview]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum
