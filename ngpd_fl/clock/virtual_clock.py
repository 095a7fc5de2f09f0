"""The clock of a run: its events, what they have used, and their log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngpd_fl.clock.events import Event
from ngpd_fl.clock.log import Replay
from ngpd_fl.clock.timeline import Timeline
from ngpd_fl.clock.usage import Usage


class VirtualClock:
    """Passes events on round by round, and adds up what they use.

    Attributes:
        last_events: those of the last round; none before the first.
    """

    def __init__(self, events: Timeline | Replay, usage: Usage) -> None:
        """Start at the beginning.

        Args:
            events: the source of events.
            usage: nothing so far.
        """
        self._events = events
        self._usage = usage
        self.last_events: list[Event] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self._events.is_over

    def advance(self) -> list[Event]:
        """Return the events of the network's next round."""
        events = list(self._events.advance())
        self._usage.add(events)
        self.last_events = events
        return events

    def usage(self, message_bytes: Mapping[str, int], refused: int) -> dict[str, Any]:
        """Return what the events so far have used; see ``Usage.record``."""
        return self._usage.record(message_bytes, refused)

    def state(self) -> dict[str, Any]:
        """Return the position as JSON values; ``load`` restores it."""
        return {"events": self._events.state(), "usage": self._usage.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._events.load(state["events"])
        self._usage.load(state["usage"])
