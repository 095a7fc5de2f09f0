"""Which messages each end of each link has taken in, and what the messages say about it, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH = 63
_BITMAP = (1 << _WIDTH) - 1


class Acknowledgements:
    """Counts the messages over every directed edge, and keeps what each one that is on its way says.

    A message over an edge says which of those that came the other way its sender has taken in: the newest one's number
    and, as bit k, whether the one k before it was.
    """

    def __init__(self, num_edges: int) -> None:
        """Start with nothing sent; take E."""
        self._sent = [0] * (2 * num_edges)
        self._newest = [-1] * (2 * num_edges)
        self._bitmap = [0] * (2 * num_edges)
        self._said: dict[tuple[int, int], tuple[int, int]] = {}

    def write(self, key: tuple[int, int]) -> None:
        """Note that a message leaves, known as its edge and its number there."""
        edge, sequence = key
        self._sent[edge] = sequence + 1
        self._said[key] = self._newest[edge ^ 1], self._bitmap[edge ^ 1]

    def applied(self, key: tuple[int, int], sends: bool) -> int:
        """Return ``Headers.applied`` of a message for its receiver.

        Args:
            key: the message.
            sends: whether its receiver has sent over this edge in the round that it is about to end.
        """
        newest, bitmap = self._said[key]
        later = self._sent[key[0] ^ 1] - sends - 1 - newest
        return (bitmap << later) & _BITMAP if later < _WIDTH else 0

    def take(self, key: tuple[int, int]) -> None:
        """Note that a message was taken in."""
        edge, sequence = key
        self._bitmap[edge] = (self._bitmap[edge] << (sequence - self._newest[edge])) & _BITMAP | 1
        self._newest[edge] = sequence

    def forget(self, key: tuple[int, int]) -> None:
        """Let go of what a message says: nobody will ask any more."""
        del self._said[key]

    def state(self) -> dict[str, Any]:
        """Return all that changes, as JSON takes it; ``load`` takes it back."""
        said = [[*key, *words] for key, words in sorted(self._said.items())]
        return {"sent": self._sent, "newest": self._newest, "bitmap": self._bitmap, "said": said}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._sent, self._newest, self._bitmap = list(state["sent"]), list(state["newest"]), list(state["bitmap"])
        self._said = {(edge, sequence): (newest, bitmap) for edge, sequence, newest, bitmap in state["said"]}
