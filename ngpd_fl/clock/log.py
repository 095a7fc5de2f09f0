"""Event log: one JSON line per event, and the replay of a run from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ngpd_fl.clock.events import Drop, Event, Read, Work, from_json, to_json
from ngpd_fl.config import InputError, expanded, read_json_lines

_ROUND = {"event": "round"}
"""The line that ends a round of the network."""


def write_round(file: IO[str], events: Iterable[Event]) -> None:
    """Write the events of one round of the network."""
    for event in events:
        file.write(json.dumps(to_json(event)) + "\n")
    file.write(json.dumps(_ROUND) + "\n")


def keep_rounds(path: Path, rounds: int) -> None:
    """Cut a log off after a number of rounds."""
    with path.open("r+b") as file:
        while rounds and (line := file.readline()):
            rounds -= line.strip() == json.dumps(_ROUND).encode()
        file.truncate(file.tell())


class Replay:
    """The events of a file, in place of a timeline.

    Attributes:
        now: the time of the last event.
        is_over: whether all of them have happened.
    """

    def __init__(self, path: Path, num_nodes: int, num_edges: int) -> None:
        """Read a file for a network of N nodes and E edges.

        Raises:
            InputError: it cannot be read, holds something that is no event, or events of another network.
        """
        self._rounds: list[list[Event]] = []
        self._done = 0
        self.now = 0.0
        open_round: list[Event] = []
        on_their_way: set[tuple[int, int]] = set()
        for number, values in _lines(expanded(path)):
            if values == _ROUND:
                self._rounds.append(open_round)
                open_round = []
                continue
            try:
                event = from_json(values)
            except ValueError as error:
                raise InputError(f"event log {path}: line {number} is {error}") from error
            if not _fits(event, num_nodes, num_edges):
                raise InputError(f"event log {path}: line {number} belongs to another network")
            if not _follows(event, on_their_way):
                raise InputError(f"event log {path}: line {number} cannot come after what is before it")
            open_round.append(event)

    @property
    def round(self) -> int:
        """Rounds of the network that have happened."""
        return self._done

    @property
    def is_over(self) -> bool:
        """Whether all events have happened."""
        return self._done == len(self._rounds)

    def advance(self) -> Iterator[Event]:
        """Yield the events of the network's next round."""
        events = self._rounds[self._done]
        self._done += 1
        for event in events:
            self.now = event.time
            yield event

    def state(self) -> dict[str, Any]:
        """Return the position; ``load`` restores it."""
        return {"done": self._done, "now": self.now}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._done, self.now = state["done"], state["now"]


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        yield from read_json_lines(path, cut=False)
    except InputError as error:
        raise InputError(f"event log {error}") from error


def _follows(event: Event, on_their_way: set[tuple[int, int]]) -> bool:
    """Return whether an event can come after those that left these messages on their way, and bring them up to date."""
    if isinstance(event, Work):
        is_new = on_their_way.isdisjoint(event.sends)
        on_their_way.update(event.sends)
        return is_new
    gone = [(taken.edge, taken.sequence) for taken in event.taken] if isinstance(event, Read) else []
    if isinstance(event, Drop) and event.why != "duplicate":
        gone.append((event.edge, event.sequence))
    is_there = on_their_way.issuperset(gone)
    on_their_way.difference_update(gone)
    return is_there


def _fits(event: Event, num_nodes: int, num_edges: int) -> bool:
    """Return whether an event can be one of a network of this size."""
    node, edges = getattr(event, "node", 0), [getattr(event, "edge", 0)]
    if isinstance(event, Work):
        edges = [edge for edge, _ in event.sends]
    if isinstance(event, Read):
        edges = [taken.edge for taken in event.taken]
    return 0 <= node < num_nodes and all(0 <= edge < 2 * num_edges for edge in edges)
