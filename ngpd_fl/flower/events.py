"""Events of a run: JSON lines that the server's process prints and the launcher reads from Flower's log of the run.

The log also holds lines of Flower, Ray, and the user's own code. A line that is no valid event is ignored.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ngpd_fl.config import parse_json


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoundEvent(_Event):
    """A completed round; round 0 is the start.

    Attributes:
        round: number of completed rounds.
        rounds: number of planned rounds.
        node_steps: local steps of all nodes so far.
        seconds: training time so far.
        mean: the mean over the nodes of the run's measure; None if the round was not evaluated or it is not finite.
    """

    event: Literal["round"] = "round"
    round: int
    rounds: int
    node_steps: int
    seconds: float
    mean: float | None


class WaitingEvent(_Event):
    """The wait for clients before the first round.

    Attributes:
        connected: number of clients so far.
        expected: number of clients that the run needs.
    """

    event: Literal["waiting"] = "waiting"
    connected: int
    expected: int

    @property
    def text(self) -> str:
        """The wait in one line."""
        return f"waiting for clients: {self.connected} of {self.expected} are there"


class ClientEvent(_Event):
    """A problem with a client.

    Attributes:
        round: its round; -1 for before the first.
        client: the client.
        what: description, recorded once for as long as the problem lasts.
    """

    event: Literal["client"] = "client"
    round: int
    client: int
    what: str

    @property
    def text(self) -> str:
        """The problem in one line."""
        return f"round {self.round + 1}: client {self.client} {self.what}"

    def record(self) -> dict[str, int | str]:
        """Return the event in the form of the records."""
        return {"round": self.round, "client": self.client, "what": self.what}


class FailureEvent(_Event):
    """The end of a run by an error.

    Attributes:
        message: the error in one line.
        is_input: whether the run was refused before it started, since its input cannot be used.
    """

    event: Literal["failure"] = "failure"
    message: str
    is_input: bool


Event = RoundEvent | WaitingEvent | ClientEvent | FailureEvent
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def emit(event: Event) -> None:
    """Print an event."""
    sys.stdout.write(f"{event.model_dump_json()}\n")  # in one call, since Flower's log interleaves calls of threads
    sys.stdout.flush()


def read_event(line: str) -> Event | None:
    """Return the event of a line of the log; None for any other line."""
    if not line.startswith('{"event":'):
        return None
    try:
        return _ADAPTER.validate_python(parse_json(line))
    except ValueError:
        return None
