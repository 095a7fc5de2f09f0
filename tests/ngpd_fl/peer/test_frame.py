"""A frame that is not exactly as it should be is refused, and changes nothing."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from ngpd_fl.engines import EdgeHeader
from ngpd_fl.peer.frame import REASONS, Codec, Head, InvalidFrame, Kind
from ngpd_fl.peer.inbox import Inbox

RUN = b"0123456789abcdef"
HEAD = Head(
    Kind.MESSAGE, 3, EdgeHeader(sequence=5, newest=4, bitmap=0b1011, round=7), incarnation=2, receiver_incarnation=1
)


class Message(NamedTuple):
    dual: Tensor
    params: Tensor


LIKE = Message(torch.zeros(4, 3), torch.zeros(5, dtype=torch.float64))


def fields(seed: int = 0) -> dict[str, Tensor]:
    random = np.random.default_rng(seed)
    return {
        "dual": torch.tensor(random.normal(size=(4, 3)), dtype=torch.float32),
        "params": torch.tensor(random.normal(size=5)),
    }


def written(head: Head = HEAD, codec: Codec | None = None, content: dict[str, Tensor] | None = None) -> bytearray:
    return bytearray(b"".join((codec or Codec(RUN, LIKE)).write(head, content or fields())))


def sealed(frame: bytearray) -> bytearray:
    """The frame with the checksum that fits it."""
    frame[:4] = struct.pack("<I", zlib.crc32(frame[4:]))
    return frame


def refusal(frame: bytes | bytearray, edge: int = 3, codec: Codec | None = None) -> str:
    with pytest.raises(InvalidFrame) as refused:
        (codec or Codec(RUN, LIKE)).read(edge, memoryview(frame))
    assert str(refused.value) in REASONS
    return str(refused.value)


def test_a_frame_is_read_as_it_was_written() -> None:
    frame = Codec(RUN, LIKE).read(3, memoryview(written()))
    assert frame.head == HEAD
    for name, value in fields().items():
        assert torch.equal(frame.fields[name], value) and frame.fields[name].dtype == value.dtype


def test_the_layout_is_the_documented_one() -> None:
    """Built by hand from the description, so that another program can write one."""
    head = struct.pack("<4sBBH16sIIIiQQQ", b"NGPD", 2, 0, 2, RUN, 3, 7, 5, 4, 0b1011, 2, 1)
    shapes = struct.pack("<BBII", 1, 2, 4, 3) + struct.pack("<BBI", 2, 1, 5)
    numbers = b"".join(value.numpy().tobytes() for value in fields().values())
    assert len(head) == 64
    assert bytes(written()) == struct.pack("<I", zlib.crc32(head + shapes + numbers)) + head + shapes + numbers


def test_pieces_do_not_change_with_the_tensors_that_they_were_made_of() -> None:
    content = fields()
    pieces = Codec(RUN, LIKE).write(HEAD, content)
    for value in content.values():
        value.fill_(0)
    assert b"".join(pieces) == bytes(written())


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.BYE])
def test_a_frame_without_a_message(kind: Kind) -> None:
    frame = b"".join(Codec(RUN, LIKE).write(Head(kind, 3, EdgeHeader(0, -1, 0, 7))))
    assert len(frame) == 68
    assert Codec(RUN, LIKE).read(3, memoryview(frame)) == (Head(kind, 3, EdgeHeader(0, -1, 0, 7)), {})


@pytest.mark.parametrize(
    ("message_dtype", "error"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)]
)
def test_numbers_in_messages_can_be_shorter(message_dtype: torch.dtype, error: float) -> None:
    codec = Codec(RUN, LIKE, message_dtype)
    frame = written(codec=codec)
    assert len(frame) == 4 + 64 + (2 + 8) + (2 + 4) + 17 * message_dtype.itemsize
    for name, value in codec.read(3, memoryview(frame)).fields.items():
        assert value.dtype == fields()[name].dtype
        assert torch.equal(value, fields()[name].to(message_dtype).to(value.dtype))
        assert float((value - fields()[name]).abs().max()) < error
    assert refusal(frame) == "shape"


def changed(at: int, value: bytes) -> bytearray:
    frame = written()
    frame[at : at + len(value)] = value
    return sealed(frame)


def test_what_is_wrong_is_said() -> None:
    assert refusal(b"") == refusal(written()[:67]) == "format"
    assert refusal(changed(4, b"NGPE")) == refusal(changed(8, b"\1")) == refusal(changed(9, b"\3")) == "format"
    assert refusal(changed(10, b"\1")) == "format"
    assert refusal(changed(12, b"x")) == refusal(written(codec=Codec(b"another run 0000", LIKE))) == "run"
    assert refusal(written(), edge=2) == refusal(changed(28, b"\2")) == "edge"
    assert refusal(written()[:-1]) == refusal(written() + b"\0") == "shape"
    assert refusal(changed(68, b"\2")) == refusal(changed(70, struct.pack("<II", 3, 4))) == "shape"
    flipped = written()
    flipped[100] ^= 1
    assert refusal(flipped) == "checksum"
    for value in (torch.nan, torch.inf, -torch.inf):
        for name, content in fields().items():
            content.view(-1)[1] = value
            assert refusal(written(content={**fields(), name: content})) == "not finite"


def inbox(**options: Any) -> Inbox:
    return Inbox(Codec(RUN, LIKE), [3, 5], rounds=10, **options)


def give(box: Inbox, round: int, sequence: int, incarnation: int = 1, edge: int = 3, kind: Kind = Kind.MESSAGE) -> None:
    head = Head(kind, edge, EdgeHeader(sequence, -1, 0, round), incarnation)
    frame = Codec(RUN, LIKE).write(head, fields() if kind is Kind.MESSAGE else None)
    box.receive(edge, memoryview(b"".join(frame)))


def test_nothing_comes_twice_or_from_a_life_that_is_over() -> None:
    box = inbox(seen={5: (2, 1)})
    give(box, 0, 0)
    give(box, 0, 0)
    give(box, 1, 0)
    assert box.refused == {"replayed": 2}
    give(box, 1, 1, incarnation=2)  # a new incarnation counts from 0 again, and what the old one wrote is over
    give(box, 2, 5, incarnation=1)
    give(box, 2, 5, incarnation=1, kind=Kind.BYE)
    give(box, 4, 1, incarnation=2, edge=5)
    give(box, 4, 2, incarnation=2, edge=5)
    assert box.refused == {"replayed": 5} and not box.gone
    assert {edge: frame.head.header.round for edge, frame in box.take_newest().items()} == {3: 1, 5: 4}
    assert box.seen == {3: (2, 1), 5: (2, 2)}


def test_rounds_that_cannot_be_are_refused() -> None:
    box = inbox()
    give(box, 10, 0)
    give(box, 3, 0, incarnation=0)
    give(box, 3, 0, edge=4)
    assert box.refused == {"header": 2, "edge": 1} and not box.take_newest()


def test_messages_of_a_round_are_taken_and_later_ones_stay() -> None:
    box = inbox()
    for round in (1, 2, 3):
        give(box, round, round)
    give(box, 2, 0, edge=5)
    assert box.replaced == 1  # two are kept
    assert box.newest_rounds() == {3: 3, 5: 2}
    assert {edge: frame.head.header.round for edge, frame in box.take_round(3).items()} == {3: 3}
    assert box.late == 2 and box.take_round(9) == {}


def test_who_is_gone_is_not_waited_for_until_heard() -> None:
    box = inbox()
    never = float("inf")
    give(box, 0, 0)
    give(box, 0, 0, edge=5, kind=Kind.BYE)
    assert box.wait([3, 5], 0, never, lambda: False) == []
    assert box.wait([3], 1, 0.0, lambda: False) == [3] and box.gone == {3, 5}
    assert box.wait([3, 5], 1, never, lambda: False) == []
    give(box, 0, 0, kind=Kind.HELLO)
    assert box.gone == {5} and box.heard_edges() == {3, 5}
    assert box.wait([3], 1, never, lambda: True) == [] and box.gone == {5}


MUTATIONS = 120_000


def test_no_mutated_frame_is_taken() -> None:
    """Whatever is done to a frame, it is refused: no other error, and nothing in the inbox changes.

    Half of them get a checksum that fits, as somebody who means harm would make it; then what is left may be a right
    frame of other content, and is counted apart.
    """
    random = np.random.default_rng(0)
    codec, original = Codec(RUN, LIKE), bytes(written())
    box, taken, reasons = inbox(), 0, Counter[str]()
    for number in range(MUTATIONS):
        frame = mutated(bytearray(original), random)
        if frame == original:
            continue
        if number % 2 and len(frame) > 4:
            frame = sealed(frame)
            try:
                found = codec.read(3, memoryview(frame))
            except InvalidFrame as refused:
                reasons[str(refused)] += 1
            else:
                taken += 1
                assert all(bool(value.isfinite().all()) for value in found.fields.values())
                assert [value.shape for value in found.fields.values()] == [value.shape for value in LIKE]
        else:
            box.receive(3, memoryview(frame))
    assert not box.take_newest() and not box.seen and not box.gone and not box.heard_edges()
    assert sum(box.refused.values()) > 0.49 * MUTATIONS
    assert set(reasons) == {"format", "run", "edge", "shape", "not finite"} and 0 < taken < 0.4 * MUTATIONS


def mutated(frame: bytearray, random: np.random.Generator) -> bytearray:
    """Flip bits, overwrite, cut, repeat, insert or swap parts of a frame."""
    for _ in range(int(random.integers(1, 4))):
        start, end = sorted(random.integers(0, len(frame) + 1, 2).tolist())
        match int(random.integers(6)):
            case 0 if frame:
                frame[int(random.integers(len(frame)))] ^= 1 << int(random.integers(8))
            case 1:
                frame[start : start + 4] = random.bytes(4)[: max(0, len(frame) - start)]
            case 2:
                del frame[start:end]
            case 3:
                frame[end:end] = frame[start:end][:64]
            case 4 if frame:
                frame[int(random.integers(len(frame)))] = int(random.choice([0, 0x7F, 0x80, 0xF0, 0xFF]))
            case _:
                frame[start:end] = frame[start:end][::-1]
    return frame
