"""Timeline of the nodes from a run's event log: a bar per node, for computing, waiting and being away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ngpd_fl.clock import Event, Notice, Read, Work
from ngpd_fl.config import Config
from ngpd_fl.report.colors import PALETTE
from ngpd_fl.report.pictures.style import LIGHT, dress, new_figure, short_name
from ngpd_fl.report.setting import setting_words

_NODES = 24
"""Most nodes with a bar; of more nodes, the slowest, the fastest and some in between have one."""

_ROUNDS = 30
"""Most rounds of the fastest node; bars of more could not be distinguished."""

KINDS = {"computes": PALETTE[0], "computes in vain": "#a6cee3", "waits": "#dcdcdc", "is away": "#E69F00"}
"""Activities of a node with their colors."""

Spell = tuple[float, float]
"""(begin, length) in seconds."""


@dataclass
class Course:
    """Activities of one node over time.

    Attributes:
        spells: the spells of each activity.
        ends: times at which its rounds ended.
    """

    spells: dict[str, list[Spell]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    ends: list[float] = field(default_factory=list)


def read_courses(events: Iterable[Event], num_nodes: int) -> list[Course]:
    """Return the activities of each node; one that is incomplete at the last event is left out, unless it is away.

    A node that leaves has computed in vain if it was computing, else it has waited since it sent.
    """
    courses, left, now = [Course() for _ in range(num_nodes)], dict[int, float](), 0.0
    sent: dict[int, float] = {}  # times at which waiting nodes sent
    for event in events:
        now = event.time
        if isinstance(event, Work):
            courses[event.node].spells["computes"].append((event.began, event.time - event.began))
            sent[event.node] = event.time
        elif isinstance(event, Read):
            begin = sent.pop(event.node, event.time)  # in a foreign log it may not have sent
            courses[event.node].spells["waits"].append((begin, event.time - begin))
            courses[event.node].ends.append(event.time)
        elif isinstance(event, Notice) and event.what == "leaves":
            if event.began is not None:
                courses[event.node].spells["computes in vain"].append((event.began, event.time - event.began))
            elif event.node in sent:
                begin = sent.pop(event.node)
                courses[event.node].spells["waits"].append((begin, event.time - begin))
            left[event.node] = event.time
        elif isinstance(event, Notice) and event.what == "returns":
            begin = left.pop(event.node, 0.0)
            courses[event.node].spells["is away"].append((begin, event.time - begin))
    for node, begin in left.items():
        courses[node].spells["is away"].append((begin, now - begin))
    return courses


def timeline_figure(config: Config, courses: Sequence[Course]) -> Figure:
    """Draw the nodes' first rounds as bars over virtual time, the first node on top."""
    shown = chosen(courses)
    end, part = excerpt(courses)
    figure = new_figure(8.6, 1.7 + 0.26 * max(len(shown), 4))
    axes = figure.add_subplot()
    dress(axes, f"{config.method}: timeline of the nodes{part}", setting_words(config))
    for row, node in enumerate(shown):
        for kind, color in KINDS.items():
            spells = [(begin, min(length, end - begin)) for begin, length in courses[node].spells[kind] if begin < end]
            axes.broken_barh(spells, (row - 0.36, 0.72), facecolors=color, edgecolors="white", linewidth=0.5)
    names = config.topology.node_names
    axes.set_yticks(range(len(shown)), [short_name(names[node]) for node in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.grid(axis="x", color=LIGHT)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("virtual time (s)")
    axes.set_ylabel("node" if len(shown) == len(courses) else f"{len(shown)} of {len(courses)} nodes, slowest first")
    there = [kind for kind in KINDS if any(length for course in courses for _, length in course.spells[kind])]
    handles = [Patch(color=KINDS[kind], label=kind) for kind in there]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9.5)
    return figure


def excerpt(courses: Sequence[Course]) -> tuple[float, str]:
    """Return the end of the drawn part in seconds, and its description if it is not the whole."""
    busiest = max(len(course.ends) for course in courses)
    if busiest > _ROUNDS:
        end = min(course.ends[_ROUNDS - 1] for course in courses if len(course.ends) >= _ROUNDS)
        return end, f", the fastest one's first {_ROUNDS} rounds"
    return max((course.ends[-1] for course in courses if course.ends), default=1.0), ""


def chosen(courses: Sequence[Course]) -> list[int]:
    """Return the nodes to draw: all, or equal thirds of the slowest, the fastest and those in between."""
    if len(courses) <= _NODES:
        return list(range(len(courses)))
    by_speed = sorted(range(len(courses)), key=lambda node: _seconds_a_round(courses[node]), reverse=True)
    third = _NODES // 3
    between = np.linspace(third, len(courses) - third - 1, third).round().astype(int).tolist()
    return [by_speed[rank] for rank in (*range(third), *between, *range(len(courses) - third, len(courses)))]


def _seconds_a_round(course: Course) -> float:
    """Return a node's mean computing time per round; infinite if it never computed."""
    lengths = [length for _, length in course.spells["computes"]]
    return sum(lengths) / len(lengths) if lengths else float("inf")
