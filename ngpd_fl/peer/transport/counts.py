"""Counters of a transport."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Counts(NamedTuple):
    """Counters of a transport since it began; numbers only grow.

    Attributes:
        sent: frames that the other side has taken.
        sent_bytes: their bytes, without what the protocol adds.
        received: frames handed to ``receive``.
        received_bytes: their bytes.
        replaced: frames that never left, since a newer one for the same edge came.
        retried: times that a frame did not get through and waits again.
        refused: connections of strangers, and frames that were too large or on an edge that is not their sender's.
    """

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    replaced: int = 0
    retried: int = 0
    refused: int = 0


class Tally:
    """Counts in the making, for any thread."""

    def __init__(self) -> None:
        """Begin with zeros."""
        self.counts = Counts()
        self._lock = threading.Lock()

    def add(self, **more: int) -> None:
        """Add to the counts of these names."""
        with self._lock:
            self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items()})
