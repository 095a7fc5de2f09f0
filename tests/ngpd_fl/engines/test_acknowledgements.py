"""Acknowledgements: what headers say about the last 63 messages of the other direction."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ngpd_fl.core.directed_edges import BITMAP_BITS, EdgeHeader
from ngpd_fl.engines.acknowledgements import Acknowledgements, applied_before


def apply(acknowledgements: Acknowledgements, edge: int, sequence: int) -> None:
    acknowledgements.apply(np.array([edge]), np.array([sequence]))


def test_the_first_header_acknowledges_nothing() -> None:
    assert Acknowledgements(2).header(3, round=5) == EdgeHeader(sequence=0, newest=-1, bitmap=0, round=5)


def test_a_header_acknowledges_the_messages_of_the_reverse_edge() -> None:
    acknowledgements = Acknowledgements(2)
    acknowledgements.sent[2] = 4
    for sequence in (0, 1, 4):
        apply(acknowledgements, 3, sequence)
    assert acknowledgements.header(2, round=7) == EdgeHeader(sequence=4, newest=4, bitmap=0b11001, round=7)
    assert acknowledgements.header(3, round=7) == EdgeHeader(sequence=0, newest=-1, bitmap=0, round=7)


def test_several_edges_at_once() -> None:
    acknowledgements = Acknowledgements(2)
    acknowledgements.apply(np.array([0, 3]), np.array([2, 0]))
    assert acknowledgements.newest.tolist() == [2, -1, -1, 0, -1]
    assert acknowledgements.bitmap.tolist() == [1, 0, 0, 1, 0]


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(0, 80))
def test_bits_are_the_applied_messages_among_the_last_63(applied: set[int], later: int) -> None:
    acknowledgements = Acknowledgements(1)
    for sequence in sorted(applied):
        apply(acknowledgements, 0, sequence)
    newest, bitmap = int(acknowledgements.newest[0]), int(acknowledgements.bitmap[0])
    assert newest == max(applied)
    assert [bit for bit in range(64) if bitmap >> bit & 1] == sorted(
        newest - sequence for sequence in applied if newest - sequence < BITMAP_BITS
    )
    sent = newest + 1 + later
    seen = int(applied_before(np.array([sent]), np.array([newest]), np.array([bitmap]))[0])
    assert {sent - 1 - bit for bit in range(BITMAP_BITS) if seen >> bit & 1} == {
        sequence for sequence in applied if sent - sequence <= BITMAP_BITS and newest - sequence < BITMAP_BITS
    }
