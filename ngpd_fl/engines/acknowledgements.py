"""Acknowledgements: which of the messages over each directed edge were applied by its receiver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.directed_edges import BITMAP_BITS, EdgeHeader, reverse

_MASK = (1 << BITMAP_BITS) - 1

Integers = NDArray[np.int64]


class Acknowledgements:
    """Counts of the messages over every directed edge, and which of them were applied.

    Attributes:
        sent: messages sent, int64 ``[2 E + 1]``; the last entry stands for "no edge".
        newest: sequence number of the newest message that was applied, -1 where there is none, int64 ``[2 E + 1]``.
        bitmap: bit k is set if the message numbered ``newest - k`` was applied, int64 ``[2 E + 1]``.
    """

    def __init__(self, num_edges: int) -> None:
        """Start with nothing sent over E edges."""
        self.sent: Integers = np.zeros(2 * num_edges + 1, dtype=np.int64)
        self.newest: Integers = np.full(2 * num_edges + 1, -1, dtype=np.int64)
        self.bitmap: Integers = np.zeros(2 * num_edges + 1, dtype=np.int64)

    def header(self, edge: int, round: int) -> EdgeHeader:
        """Return the header of the next message over a directed edge."""
        back = reverse(edge)
        return EdgeHeader(int(self.sent[edge]), int(self.newest[back]), int(self.bitmap[back]), round)

    def apply(self, edges: Integers, sequences: Integers) -> None:
        """Note that one message over each of these directed edges was applied, newer than all before."""
        ahead = sequences - self.newest[edges]
        self.bitmap[edges] = shifted(self.bitmap[edges], ahead) | 1
        self.newest[edges] = sequences


def shifted(bitmap: Integers, places: Integers) -> Integers:
    """Return bitmaps as seen from messages sent ``places`` later; those older than 63 messages are dropped."""
    return np.where(places < BITMAP_BITS, (bitmap << np.minimum(places, BITMAP_BITS - 1)) & _MASK, 0)


def applied_before(sent: Integers, newest: Integers, bitmap: Integers) -> Integers:
    """Return ``Headers.applied``: bit k is set if the (k + 1)-th last of ``sent`` messages was applied."""
    return shifted(bitmap, sent - 1 - newest)
