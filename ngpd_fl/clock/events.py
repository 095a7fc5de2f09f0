"""Events of a network over virtual time, in order.

A timeline yields them; an engine computes every ``Work`` and ``Read`` and discards the messages that ``Drop`` names.
It yields them in an order in which they can be computed: whatever an event needs comes before it.
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
"""Reasons why no node reads a message: it was lost; its receiver was away when it arrived; a newer one had arrived; it
had arrived before (then only the copy is dropped)."""


class Work(NamedTuple):
    """A node has finished the local steps of a round and sends its messages.

    Attributes:
        time: the time, in seconds.
        node: the node's index.
        round: the node's own round, from 0.
        began: the time at which the local steps began.
        renew: whether the node has skipped rounds, so that its curvature must be estimated anew.
        sends: the outgoing messages: directed edge, and number of messages sent over it before.
    """

    time: Time
    node: Count
    round: Count
    began: Time
    renew: Annotated[bool, Field(strict=True)]
    sends: tuple[tuple[Count, Count], ...]


class Taken(NamedTuple):
    """A message that a node reads.

    Attributes:
        edge: the message's directed edge.
        sequence: number of messages sent over that edge before.
        round: the sender's round.
        age: number of rounds that the receiver has ended since the message was sent.
    """

    edge: Count
    sequence: Count
    round: Count
    age: Count


class Read(NamedTuple):
    """A node reads the messages that have arrived, which ends its round. If it leaves while it waits, it reads none.

    Attributes:
        time: the time, in seconds.
        node: the node's index.
        round: the round that ends.
        taken: the messages, at most one per edge, in ascending order of edges.
    """

    time: Time
    node: Count
    round: Count
    taken: tuple[Taken, ...]


class Drop(NamedTuple):
    """A message that no node reads."""

    time: Time
    edge: Count
    sequence: Count
    why: Why


class Notice(NamedTuple):
    """A node leaves (at time 0: has not joined yet), returns, or skips rounds to catch up with its neighbors.

    Attributes:
        time: the time, in seconds.
        node: the node's index.
        what: the kind of the change.
        round: the round that the node is in or goes to.
        began: the time at which it began local steps that it leaves unfinished; None if there are none.
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
    """Return an event as a JSON object."""
    return {"event": type(event).__name__.lower(), **event._asdict()}


def from_json(values: Any) -> Event:
    """Return the event of a JSON object that ``to_json`` made.

    Raises:
        ValueError: the value is not an event.
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
    """A message in flight, or one that has arrived.

    Attributes:
        sequence: number of messages sent over its edge before.
        round: the sender's round.
        reads: number of rounds that the receiver had ended when the message was sent.
        answers: the newest message that the sender had read from the receiver; -1: none.
    """

    sequence: int
    round: int
    reads: int
    answers: int
