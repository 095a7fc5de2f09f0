"""The rounds that neighbors claim to be in, and which of these claims are accepted.

A node that was away joins its neighbors in their round. A round is only a number in a frame, though, and one
dishonest neighbor must not make the others leave out their training. A claim is accepted where the neighbor of another
process claims as much, or where it is no more, when it comes, than what the one neighbor can have done since it was
last met: in that time, less what it waits before it goes on alone, ``_FASTER`` times as many rounds as are done here;
only ``_APART`` times as many while another neighbor keeps step, since then the network has not left this node behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_FASTER = 4.0
"""Times as many rounds a second as here that a neighbor can do."""

_APART = 1.25
"""The same while others keep step: parts of a network that were cut off from each other differ by so much in pace."""

_LEEWAY = 10
"""Rounds that a neighbor may be ahead at the start, before anything is known of its pace and of the time; and rounds
after which one that was met keeps step no more."""

_MEMORY = 0.9
"""Weight of earlier rounds in the mean duration of a round."""


class _Meeting(NamedTuple):
    """A neighbor's round at a time.

    Attributes:
        round: the latest that it can have been in, or that it claims.
        time: by ``time.monotonic()``; of one that was met the time after which it could go on alone.
    """

    round: int
    time: float


class Claims:
    """Judges the rounds that neighboring processes, known by their names, claim."""

    def __init__(self, timeout: float) -> None:
        """Set the seconds that a neighbor waits for a message before it goes on alone."""
        self._timeout = timeout
        self._duration: float | None = None  # of a round, in seconds
        self._kept_at: float | None = None  # by the wall clock: when the state was written that this goes on from
        self._began: float | None = None
        self._start = _Meeting(_LEEWAY, time.monotonic())
        self._met: dict[str, _Meeting] = {}
        self._came: dict[str, _Meeting] = {}  # the last claim of each, and when it came

    def start(self, round: int) -> None:
        """Note the round with which this process begins, now."""
        away = 0.0 if self._kept_at is None else max(0.0, time.time() - self._kept_at)  # the clock may have gone back
        self._start = _Meeting(round + _LEEWAY, time.monotonic() - away)

    def begin_round(self) -> None:
        """Note that a round begins."""
        now = time.monotonic()
        if self._began is not None:
            lasted = now - self._began
            before = lasted if self._duration is None else self._duration
            self._duration = _MEMORY * before + (1 - _MEMORY) * lasted
        self._began = now

    def waited_in_vain(self) -> None:
        """Exclude the round under way from the estimate of how long rounds take."""
        self._began = None

    def meet(self, names: Iterable[str], round: int) -> None:
        """Note that messages of these neighbors came in the round that they are of."""
        self._met |= dict.fromkeys(names, _Meeting(round + 1, time.monotonic() + self._timeout))

    def believed(self, claims: Mapping[str, int], round: int) -> int:
        """Return the latest round that can be accepted of what neighbors claim; 0 if there is none.

        Args:
            claims: by the neighbor's name.
            round: that of this process.
        """
        for name, claim in claims.items():
            if name not in self._came or self._came[name].round != claim:
                self._came[name] = _Meeting(claim, time.monotonic())
        confirmed = sorted(claims.values())[-2] if len(claims) > 1 else 0
        return max([confirmed, *(claim for name, claim in claims.items() if claim <= self._latest(name, round))])

    def state(self) -> dict[str, Any]:
        """Return the state that a later process needs, as JSON values."""
        return {"duration": self._duration, "kept_at": time.time()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._duration, self._kept_at = state["duration"], state["kept_at"]

    def _latest(self, name: str, round: int) -> float:
        """Return the latest round that a neighbor can have been in when its claim came."""
        met = self._met.get(name, self._start)
        alone = max(0.0, self._came[name].time - met.time)
        keeps_step = any(meeting.round >= round - _LEEWAY for other, meeting in self._met.items() if other != name)
        pace = 0.0 if self._duration is None else 1 / max(self._duration, 1e-9)
        return met.round + (_APART if keeps_step else _FASTER) * pace * alone
