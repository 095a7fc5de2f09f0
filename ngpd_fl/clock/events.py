"""What happens to a network over virtual time, one event after another.

A timeline yields them; an engine computes what ``Work`` and ``Read`` say and forgets the messages that ``Drop`` names.
The order in which they are yielded is one in which they can be computed: what an event needs lies before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Why = Literal["lost", "absent", "outdated", "duplicate"]
"""Why a message is taken in by nobody: it was lost; its receiver was away when it came; a newer one had come; it had
come before (then only the copy is dropped)."""


class Work(NamedTuple):
    """A node has taken the local steps of a round and sends.

    Attributes:
        time: when, in seconds.
        node: which one.
        round: its own round, from 0.
        began: when it began.
        renew: whether it has left out rounds, so that its curvature is to be estimated anew.
        sends: the messages that leave: directed edge, and messages sent over it before.
    """

    time: float
    node: int
    round: int
    began: float
    renew: bool
    sends: tuple[tuple[int, int], ...]


class Taken(NamedTuple):
    """A message that a node takes in.

    Attributes:
        edge: the directed edge that it came over.
        sequence: messages sent over that edge before it.
        round: its sender's round.
        age: rounds that its receiver has ended since it was sent.
    """

    edge: int
    sequence: int
    round: int
    age: int


class Read(NamedTuple):
    """A node takes in what has come, which ends its round; one that leaves while it waits takes in nothing.

    Attributes:
        time: when, in seconds.
        node: which one.
        round: the round that ends.
        taken: the messages, at most one of each edge, by ascending edge.
    """

    time: float
    node: int
    round: int
    taken: tuple[Taken, ...]


class Drop(NamedTuple):
    """Nobody takes in a message."""

    time: float
    edge: int
    sequence: int
    why: Why


class Notice(NamedTuple):
    """A node leaves (at 0: it is not there yet), returns, or leaves rounds out to be where its neighbours are.

    Attributes:
        time: when, in seconds.
        node: which one.
        what: which of these.
        round: the round that it is in, or goes to.
        began: when it began the local steps that it leaves unfinished, if it does.
    """

    time: float
    node: int
    what: Literal["leaves", "returns", "skips"]
    round: int
    began: float | None = None


Event = Work | Read | Drop | Notice

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Work, Read, Drop, Notice)}


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON takes it."""
    return {"event": type(event).__name__.lower(), **event._asdict()}


def from_json(values: Mapping[str, Any]) -> Event:
    """Return the event that ``to_json`` gave.

    Raises:
        ValueError: it is none.
    """
    fields = dict(values)
    kind = _KINDS.get(str(fields.pop("event", None)))
    if kind is None or not set(kind._fields) - set(kind._field_defaults) <= fields.keys() <= set(kind._fields):
        raise ValueError("not an event")
    if kind is Work:
        fields["sends"] = tuple((edge, sequence) for edge, sequence in fields["sends"])
    if kind is Read:
        fields["taken"] = tuple(Taken(*taken) for taken in fields["taken"])
    event: Event = kind(**fields)
    return event
