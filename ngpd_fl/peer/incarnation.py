"""The number that distinguishes one start of a peer's process from all others; later starts have higher ones.

It is the time of the start in microseconds, or one more than the last that is known, whichever is more. So it grows
where the records are lost or come from a backup, and where the clock went back. If both happen to a peer, its neighbors
know a higher one and report it (``Head.receiver_incarnation``), and it takes one above that.
"""

from __future__ import annotations

import time

_ORDINARY = 1 << 62
"""Number that no clock reaches. A number from here on is accepted only close to one that is known already, so that
there is always a higher one that can be taken."""

_CLOSE = 1 << 20


def next_incarnation(known: int = 0) -> int:
    """Return a number for a start now, higher than one that is known."""
    return max(known + 1, time.time_ns() // 1000)


def is_credible(number: int, known: int = 0) -> bool:
    """Return whether a number that another process names can be one, given the highest that is known."""
    return 0 < number < max(_ORDINARY, known + _CLOSE)
