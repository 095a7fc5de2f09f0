"""Incarnation numbers, which distinguish the starts of a peer's process. Later starts have higher numbers.

The number is the time of the start in microseconds, or the last known number plus one, whichever is greater. So it
grows even if the records are lost or come from a backup, and even if the clock was set back. If both happen, the
neighbors know a higher number and report it (``Head.receiver_incarnation``), and the peer takes one above that.
"""

from __future__ import annotations

import time

_ORDINARY = 1 << 62
"""A number that no clock reaches. From here on a number is accepted only if it is close to a known one, so that a
higher number always remains."""

_CLOSE = 1 << 20


def next_incarnation(known: int = 0) -> int:
    """Return the number of a start now; it is higher than ``known``."""
    return max(known + 1, time.time_ns() // 1000)


def is_credible(number: int, known: int = 0) -> bool:
    """Return whether a number from another process can be an incarnation, given the highest known one."""
    return 0 < number < max(_ORDINARY, known + _CLOSE)
