"""Timelines of the nodes from a run's event log: when each computes, waits and is away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ngpd_fl.clock import Event, Notice, Read, Replay, Work
from ngpd_fl.report.colors import PALETTE
from topologies import Topology

_NODES = 24
"""Most nodes with a bar; of more nodes, the slowest, the fastest and some in between have one."""

_ROUNDS = 30
"""Most rounds of the fastest node; bars of more could not be distinguished."""

KINDS = {"computes": PALETTE[0], "computes in vain": "#a6cee3", "waits": "#dcdcdc", "is away": "#E69F00"}
"""Activities of a node with their colors."""

Interval = tuple[float, float]
"""(begin, length) in seconds."""


@dataclass
class NodeTimeline:
    """Activities of one node over time.

    Attributes:
        intervals: the intervals of each activity.
        ends: times at which its rounds ended.
    """

    intervals: dict[str, list[Interval]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    ends: list[float] = field(default_factory=list)


def all_events(events: Replay) -> Iterator[Event]:
    """Yield the events of every round."""
    while not events.is_over:
        yield from events.advance()


def logged_timelines(log: Path, topology: Topology) -> list[NodeTimeline]:
    """Return the activities of each node of a graph from a run's event log."""
    return read_timelines(all_events(Replay(log, topology.num_nodes, len(topology.edges))), topology.num_nodes)


def read_timelines(events: Iterable[Event], num_nodes: int) -> list[NodeTimeline]:
    """Return the activities of each node; one that is incomplete at the last event is left out, unless it is away.

    A node that leaves has computed in vain if it was computing, else it has waited since it sent.
    """
    timelines, left, now = [NodeTimeline() for _ in range(num_nodes)], dict[int, float](), 0.0
    sent: dict[int, float] = {}  # times at which waiting nodes sent
    for event in events:
        now = event.time
        if isinstance(event, Work):
            timelines[event.node].intervals["computes"].append((event.began, event.time - event.began))
            sent[event.node] = event.time
        elif isinstance(event, Read):
            begin = sent.pop(event.node, event.time)  # in a foreign log it may not have sent
            timelines[event.node].intervals["waits"].append((begin, event.time - begin))
            timelines[event.node].ends.append(event.time)
        elif isinstance(event, Notice) and event.what == "leaves":
            if event.began is not None:
                timelines[event.node].intervals["computes in vain"].append((event.began, event.time - event.began))
            elif event.node in sent:
                begin = sent.pop(event.node)
                timelines[event.node].intervals["waits"].append((begin, event.time - begin))
            left[event.node] = event.time
        elif isinstance(event, Notice) and event.what == "returns":
            begin = left.pop(event.node, 0.0)
            timelines[event.node].intervals["is away"].append((begin, event.time - begin))
    for node, begin in left.items():
        timelines[node].intervals["is away"].append((begin, now - begin))
    return timelines


def excerpt(timelines: Sequence[NodeTimeline]) -> tuple[float, str]:
    """Return the end of the drawn part in seconds, and its description if it is not the whole."""
    busiest = max(len(timeline.ends) for timeline in timelines)
    if busiest > _ROUNDS:
        end = min(timeline.ends[_ROUNDS - 1] for timeline in timelines if len(timeline.ends) >= _ROUNDS)
        return end, f", the fastest one's first {_ROUNDS} rounds"
    return max((timeline.ends[-1] for timeline in timelines if timeline.ends), default=1.0), ""


def chosen(timelines: Sequence[NodeTimeline]) -> list[int]:
    """Return the nodes to draw: all, or equal thirds of the slowest, the fastest and those in between."""
    if len(timelines) <= _NODES:
        return list(range(len(timelines)))
    by_speed = sorted(range(len(timelines)), key=lambda node: _seconds_a_round(timelines[node]), reverse=True)
    third = _NODES // 3
    between = np.linspace(third, len(timelines) - third - 1, third).round().astype(int).tolist()
    return [by_speed[rank] for rank in (*range(third), *between, *range(len(timelines) - third, len(timelines)))]


def _seconds_a_round(timeline: NodeTimeline) -> float:
    """Return a node's mean computing time per round; infinite if it never computed."""
    lengths = [length for _, length in timeline.intervals["computes"]]
    return sum(lengths) / len(lengths) if lengths else float("inf")
