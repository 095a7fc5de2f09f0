"""Events of a network over virtual time, in order.

A timeline yields them; an engine computes every ``Work`` and ``Read`` and discards the messages that ``Drop`` names.
The order in which they are yielded is one in which they can be computed: what an event needs lies before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

Time = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
"""Seconds since the beginning."""

Count = Annotated[int, Field(strict=True, ge=0, lt=2**62)]
"""A number of rounds, messages, nodes or edges, or the place of one among them."""

Why = Literal["lost", "absent", "outdated", "duplicate"]
"""Reasons why no node takes in a message: it was lost; its receiver was away when it came; a newer one had come; it had
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

    time: Time
    node: Count
    round: Count
    began: Time
    renew: Annotated[bool, Field(strict=True)]
    sends: tuple[tuple[Count, Count], ...]


class Taken(NamedTuple):
    """A message that a node takes in.

    Attributes:
        edge: the directed edge that it came over.
        sequence: messages sent over that edge before it.
        round: its sender's round.
        age: rounds that its receiver has ended since it was sent.
    """

    edge: Count
    sequence: Count
    round: Count
    age: Count


class Read(NamedTuple):
    """A node takes in what has come, which ends its round; one that leaves while it waits takes in nothing.

    Attributes:
        time: when, in seconds.
        node: which one.
        round: the round that ends.
        taken: the messages, at most one of each edge, by ascending edge.
    """

    time: Time
    node: Count
    round: Count
    taken: tuple[Taken, ...]


class Drop(NamedTuple):
    """A message that no node takes in."""

    time: Time
    edge: Count
    sequence: Count
    why: Why


class Notice(NamedTuple):
    """A node leaves (at 0: it is not there yet), returns, or leaves rounds out to be where its neighbors are.

    Attributes:
        time: when, in seconds.
        node: which one.
        what: which of these.
        round: the round that it is in, or goes to.
        began: when it began the local steps that it leaves unfinished, if it does.
    """

    time: Time
    node: Count
    what: Literal["leaves", "returns", "skips"]
    round: Count
    began: Time | None = None


Event = Work | Read | Drop | Notice

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Work, Read, Drop, Notice)}
_ADAPTERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON takes it."""
    return {"event": type(event).__name__.lower(), **event._asdict()}


def from_json(values: Any) -> Event:
    """Return the event that ``to_json`` gave.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(values, Mapping):
        raise ValueError("not an event")
    fields = dict(values)
    name = str(fields.pop("event", None))
    if name not in _KINDS:
        raise ValueError("not an event")
    try:
        event: Event = _ADAPTERS[name].validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"not an event ({where}: {first['msg'][0].lower()}{first['msg'][1:]})") from error
    return event


class TimedMessage(NamedTuple):
    """A message that is on its way or has come.

    Attributes:
        sequence: messages sent over its edge before.
        round: its sender's round.
        reads: rounds that its receiver had ended when it was sent.
        answers: the newest message that its sender had taken in from its receiver; -1: none.
    """

    sequence: int
    round: int
    reads: int
    answers: int
