"""The event log of a run while it grows: figures of each edge, faults, and the latest intervals of the nodes."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.clock import Drop, Event, Notice, Read, Work
from ngpd_fl.clock.events import from_json
from ngpd_fl.config import parse_json
from ngpd_fl.config.text_files import decoded
from ngpd_fl.records.growing_file import GrowingFile
from ngpd_fl.report.node_timelines import KINDS, chosen, read_timelines
from ngpd_fl.watch.numbers import short, shorts
from topologies import Topology

_TAIL = 48 << 20
"""Bytes of a long log that are read, from its end."""

_EVENTS, _ROUNDS, _NOTICES = 20_000, 30, 40
"""Events kept for the timeline; rounds of the fastest node that it shows; notices in the list."""

_TRIVIAL, _DECIMALS = 1e-9, 6
"""Seconds below which a node has not waited; decimals of a second by which the end of a wait is known again."""


class EventLog:
    """An event log as the page shows it.

    Attributes:
        topology: the run's graph.
        version: grows with every change.
        is_behind: whether more can be read at once.
    """

    def __init__(self, path: Path, topology: Topology) -> None:
        """Name the log of a run on a graph, which need not exist yet; nothing is read."""
        self._file = GrowingFile(path, _TAIL)
        self.topology, self._edges = topology, topology.edges
        self._num_nodes = topology.num_nodes
        self._shown: list[int] = []
        self.version, self.is_behind, self._problem = 0, False, ""
        self._clear()

    def _clear(self) -> None:
        directed = 2 * len(self._edges)
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._away: dict[int, Notice] = {}
        self._notices: deque[Notice] = deque(maxlen=_NOTICES)
        self._counts: Counter[str] = Counter()
        self._messages, self._lost = np.zeros(directed, np.int64), np.zeros(directed, np.int64)
        self._age, self._waited = np.full(directed, np.nan), np.zeros(directed)
        self._sent_at: list[dict[int, float]] = [{} for _ in range(self._num_nodes)]
        self._waited_for: dict[tuple[int, float], int] = {}

    def poll(self) -> None:
        """Read what was added to the log."""
        piece = self._file.read()
        self.is_behind = piece.is_behind
        if piece.is_anew:
            self._clear()
        for line in piece.lines:
            try:
                values = parse_json(decoded(line))
                if values == {"event": "round"}:
                    continue
                self._add(from_json(values))
            except (ValueError, IndexError):
                self._problem = "events.jsonl has lines that are no events of this network"
        if piece.lines or piece.is_anew:
            self.version += 1

    def _add(self, event: Event) -> None:
        if isinstance(event, Work):
            for edge, _ in event.sends:
                self._messages[edge] += 1
            sent = self._sent_at[event.node]
            sent[event.round] = event.time
            if len(sent) > 2 * _ROUNDS:
                del sent[min(sent)]
        elif isinstance(event, Read):
            self._add_read(event)
        elif isinstance(event, Drop):
            self._counts[event.why] += 1
            self._lost[event.edge] += event.why == "lost"
        elif isinstance(event, Notice):
            if event.node >= self._num_nodes:
                raise IndexError
            self._counts[event.what] += 1
            self._notices.append(event)
            if event.what == "leaves":
                self._away[event.node] = event
            elif event.what == "returns":
                self._away.pop(event.node, None)
        self._events.append(event)

    def _add_read(self, event: Read) -> None:
        """Count a node's wait for the sender whose message came last."""
        began = self._sent_at[event.node].get(event.round, event.time)
        latest, edge = -1.0, -1
        for taken in event.taken:
            self._age[taken.edge] = taken.age
            sent = self._sent_at[self._sender(taken.edge)].get(taken.round, -1.0)
            if sent > latest:
                latest, edge = sent, taken.edge
        if edge >= 0 and event.time - began > _TRIVIAL and latest > began:
            self._waited[edge] += event.time - began
            self._waited_for[event.node, round(event.time, _DECIMALS)] = self._sender(edge)
            if len(self._waited_for) > _EVENTS:
                del self._waited_for[next(iter(self._waited_for))]

    def _sender(self, directed: int) -> int:
        edge, back = divmod(directed, 2)
        return int(self._edges[edge, back])

    @property
    def problem(self) -> str:
        """The fault of the log, in words; empty if there is none."""
        return self._file.problem or self._problem

    @property
    def seconds(self) -> float:
        """Virtual time of the last event."""
        return self._events[-1].time if self._events else 0.0

    def edges(self) -> dict[str, list[Any]]:
        """Return figures by edge: messages sent, age of the last one read, seconds waited, messages lost."""

        def both(values: NDArray[Any]) -> list[float]:
            return [float(value) for value in values.reshape(-1, 2).sum(axis=1)]

        ages = self._age.reshape(-1, 2)
        known = ~np.isnan(ages)
        age = np.where(known.any(axis=1), np.where(known, ages, -1.0).max(axis=1, initial=-1.0), np.nan)
        figures = {
            "waited": shorts(both(self._waited)),
            "staleness": shorts(age.tolist()),
            "messages": shorts(both(self._messages), 9),
            "lost": shorts(both(self._lost), 9),
        }
        return {name: values for name, values in figures.items() if any(values)}

    def notices(self) -> list[dict[str, Any]]:
        """Return the latest notices, the newest first."""
        return [
            {"time": short(notice.time), "node": notice.node, "what": notice.what, "round": notice.round}
            for notice in reversed(self._notices)
        ]

    def counts(self) -> dict[str, int]:
        """Return the numbers of notices and dropped messages, by kind."""
        return dict(sorted(self._counts.items()))

    def timeline(self) -> dict[str, Any] | None:
        """Return the latest intervals of the nodes by activity: row, begin, length, and for a wait the node waited for.

        Times are in seconds. None before anything has happened.
        """
        if not self._events:
            return None
        first = self._events[0].time
        before = [notice for notice in self._away.values() if notice.time < first]
        timelines = read_timelines([*before, *self._events], self._num_nodes)
        if len(self._shown) != len(chosen(timelines)):
            self._shown = sorted(chosen(timelines))
        busiest = max(timelines, key=lambda timeline: len(timeline.ends)).ends
        begin, end = (busiest[-_ROUNDS] if len(busiest) > _ROUNDS else first), self.seconds
        intervals = {
            kind: [
                [row, short(start), short(length), self._waited_for.get((node, round(start + length, _DECIMALS)))]
                if kind == "waits"
                else [row, short(start), short(length)]
                for row, node in enumerate(self._shown)
                for start, length in timelines[node].intervals[kind]
                if start + length > begin and length > _TRIVIAL
            ]
            for kind in KINDS
        }
        return {
            "nodes": self._shown,
            "begin": short(begin),
            "end": short(end),
            "kinds": KINDS,
            "intervals": {kind: rows for kind, rows in intervals.items() if rows},
        }
