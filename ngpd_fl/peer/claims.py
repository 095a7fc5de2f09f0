"""Claims of neighbors about their round, and the rule that accepts or rejects them.

A node that was away joins its neighbors in their round. But a round is only a number in a frame, and one dishonest
neighbor must not make the others skip their training. So a claim is accepted in two cases only. Either a neighbor in
another process claims at least as much. Or the neighbor can have done so many rounds since it was last met: at most
``_FASTER`` times as many as this process does in that time, less the timeout after which a neighbor goes on alone.
While another neighbor keeps step, the factor is only ``_APART``: then the network has not left this node behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_FASTER = 4.0
"""Assumed bound on a neighbor's pace, in multiples of the pace of this process."""

_APART = 1.25
"""The same while others keep step. The parts of a network that was split differ by so much in pace."""

_LEEWAY = 10
"""Rounds that a neighbor may be ahead at the start, before its pace is known. A neighbor that was last met more rounds
ago does not keep step."""

_MEMORY = 0.9
"""Weight of earlier rounds in the mean duration of a round."""


class _Meeting(NamedTuple):
    """A neighbor's round at a time.

    Attributes:
        round: the latest round that it can have been in, or that it claims.
        time: by ``time.monotonic()``. For a neighbor that was met, the time after which it could go on alone.
    """

    round: int
    time: float


class Claims:
    """The claims of neighboring processes, by their names."""

    def __init__(self, timeout: float) -> None:
        """Set the timeout in seconds after which a neighbor that misses a message goes on alone."""
        self._timeout = timeout
        self._duration: float | None = None  # of a round, in seconds
        self._written_at: float | None = None  # wall-clock time at which the loaded state was written
        self._began: float | None = None
        self._start = _Meeting(_LEEWAY, time.monotonic())
        self._met: dict[str, _Meeting] = {}
        self._came: dict[str, _Meeting] = {}  # the last claim of each, and when it came

    def start(self, round: int) -> None:
        """Record the round with which this process begins now."""
        # The clock may have gone back.
        away = 0.0 if self._written_at is None else max(0.0, time.time() - self._written_at)
        self._start = _Meeting(round + _LEEWAY, time.monotonic() - away)

    def begin_round(self) -> None:
        """Record that a round begins."""
        now = time.monotonic()
        if self._began is not None:
            lasted = now - self._began
            before = lasted if self._duration is None else self._duration
            self._duration = _MEMORY * before + (1 - _MEMORY) * lasted
        self._began = now

    def timed_out(self) -> None:
        """Exclude the present round from the estimate of a round's duration."""
        self._began = None

    def meet(self, names: Iterable[str], round: int) -> None:
        """Record that messages of these neighbors came in the round to which they belong."""
        self._met |= dict.fromkeys(names, _Meeting(round + 1, time.monotonic() + self._timeout))

    def accepted(self, claims: Mapping[str, int], round: int) -> int:
        """Return the latest round among the claims that are accepted; 0 if there is none.

        Args:
            claims: the claimed round, by the neighbor's name.
            round: the round of this process.
        """
        for name, claim in claims.items():
            if name not in self._came or self._came[name].round != claim:
                self._came[name] = _Meeting(claim, time.monotonic())
        confirmed = sorted(claims.values())[-2] if len(claims) > 1 else 0
        return max([confirmed, *(claim for name, claim in claims.items() if claim <= self._latest(name, round))])

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values; ``load`` restores it."""
        return {"duration": self._duration, "kept_at": time.time()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned."""
        self._duration, self._written_at = state["duration"], state["kept_at"]

    def _latest(self, name: str, round: int) -> float:
        """Return the latest round that a neighbor can have reached when its claim came."""
        met = self._met.get(name, self._start)
        alone = max(0.0, self._came[name].time - met.time)
        keeps_step = any(meeting.round >= round - _LEEWAY for other, meeting in self._met.items() if other != name)
        pace = 0.0 if self._duration is None else 1 / max(self._duration, 1e-9)
        return met.round + (_APART if keeps_step else _FASTER) * pace * alone
