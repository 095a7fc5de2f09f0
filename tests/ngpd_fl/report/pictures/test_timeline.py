"""Timeline and staleness of the nodes."""

from __future__ import annotations

import pytest

from ngpd_fl.clock import Event, Notice, Read, Work
from ngpd_fl.config import Config
from ngpd_fl.report.node_timelines import NodeTimeline, chosen, read_timelines
from ngpd_fl.report.pictures.staleness import staleness_figure
from ngpd_fl.report.pictures.timeline import timeline_figure

EVENTS: list[Event] = [
    Work(2.0, 0, 0, 0.0, False, ()),
    Work(3.0, 1, 0, 0.0, False, ()),
    Read(3.0, 0, 0, ()),
    Notice(4.0, 1, "leaves", 0),
    Notice(4.5, 0, "leaves", 1, began=3.0),
    Notice(6.0, 1, "returns", 0),
    Work(7.0, 1, 1, 6.0, False, ()),
    Read(8.0, 1, 1, ()),
]


def test_spells_of_nodes() -> None:
    first, second = read_timelines(EVENTS, 2)
    assert first.intervals == {
        "computes": [(0, 2)],
        "waits": [(2, 1)],
        "computes in vain": [(3, 1.5)],
        "is away": [(4.5, 3.5)],
    }
    assert second.intervals == {
        "computes": [(0, 3), (6, 1)],
        "waits": [(3, 1), (7, 1)],
        "computes in vain": [],
        "is away": [(4, 2)],
    }
    assert (first.ends, second.ends) == ([3.0], [8.0])


def timelines(seconds: list[float], rounds: int) -> list[NodeTimeline]:
    """Nodes that only compute."""
    found = []
    for each in seconds:
        timeline = NodeTimeline(ends=[each * (k + 1) for k in range(rounds)])
        timeline.intervals["computes"] = [(each * k, each) for k in range(rounds)]
        found.append(timeline)
    return found


def test_of_many_nodes_the_slowest_and_the_fastest_are_among_the_drawn() -> None:
    nodes = chosen(timelines([float(1 + (7 * node) % 100) for node in range(100)], 3))
    assert len(nodes) == len(set(nodes)) == 24
    seconds = [1 + (7 * node) % 100 for node in nodes]
    assert seconds == sorted(seconds, reverse=True)
    assert (seconds[:8], seconds[-8:]) == (list(range(100, 92, -1)), list(range(8, 0, -1)))
    assert chosen(timelines([2.0, 1.0], 3)) == [0, 1]


@pytest.mark.parametrize(("rounds", "end"), [(10, 20.0), (50, 30.0)])
def test_a_long_run_is_drawn_as_far_as_it_can_be_read(rounds: int, end: float) -> None:
    (axes,) = timeline_figure(Config(), timelines([2.0, 1.0], rounds)).axes
    assert axes.get_xlim() == (0, end)


def test_a_log_without_events() -> None:
    assert timeline_figure(Config(), read_timelines([], 3)).axes[0].get_xlabel() == "virtual time (s)"


@pytest.mark.parametrize(("ages", "heights"), [({"0": 3, "2": 1}, [0.75, 0, 0.25]), ({"1": 1, "79": 3}, [0.25, 0.75])])
def test_shares_of_ages(ages: dict[str, int], heights: list[float]) -> None:
    (axes,) = staleness_figure(Config(), ages).axes
    found = [bar.get_height() for bar in axes.patches]
    assert sum(found) == pytest.approx(1)
    assert len(found) <= 40
    assert [found[0], found[-1]] == [pytest.approx(heights[0]) if "0" in ages else 0.25, heights[-1]]
