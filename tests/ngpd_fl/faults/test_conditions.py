"""Time faults against hand-computed cases and the laws of their draws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpd_fl.clock import MODES, Loss, Presence, make_timeline
from ngpd_fl.clock.events import Drop, Notice, Read, Work
from ngpd_fl.clock.usage import Usage
from ngpd_fl.config import Config, FaultsConfig, InputError
from ngpd_fl.faults import FaultyConditions, check_faults
from tests.support.clocks import Script, Table
from topologies import Topology, parse_topology


def ring(nodes: int = 4) -> Topology:
    return parse_topology({"name": "ring", "nodes": nodes}).build(seed=0)


def faulty(base: Any = None, seed: int = 0, **faults: Any) -> FaultyConditions:
    topology = ring()
    return FaultyConditions(base or Loss(topology), FaultsConfig(**faults), topology, seed)


def test_nothing_configured_changes_nothing() -> None:
    script = Script([(1.0, 2, False), (3.0, 2, True)], {(0, 1): (), (0, 2): (0.5, 1.0)}, {1: 2.5})
    conditions = faulty(script)
    assert list(conditions.presences(2)) == [Presence(1.0, False), Presence(3.0, True)]
    assert [conditions.slowdown(node, 0.0) for node in range(4)] == [1.0, 2.5, 1.0, 1.0]
    assert [conditions.fate(0, 0, number, 0.0) for number in range(3)] == [(0.0,), (), (0.5, 1.0)]


def absences(base: list[tuple[float, float]], leave: list[tuple[float, float | None]]) -> list[tuple[float, bool]]:
    comings = [(time, 1, there) for begin, end in base for time, there in ((begin, False), (end, True)) if time < inf]
    schedule = [{"node": 1, "at_s": begin, "until_s": end} for begin, end in leave]
    return [tuple(each) for each in faulty(Script(comings), leave=schedule).presences(1)]


def test_absences_that_overlap_or_touch_are_one() -> None:
    assert absences([(1, 2), (6, 7)], [(1.5, 3), (3, 4)]) == [(1, False), (4, True), (6, False), (7, True)]
    assert absences([(1, 5)], [(2, 3)]) == [(1, False), (5, True)]
    assert absences([], [(4, None), (1, 2)]) == [(1, False), (2, True), (4, False)]
    assert absences([(1, 2), (6, 7)], [(5, None)]) == [(1, False), (2, True), (5, False)]
    assert absences([], [(0, 3)]) == [(0, False), (3, True)]


def test_who_never_returns_is_gone_though_chance_would_bring_him_back_for_ever() -> None:
    class Endless(Script):
        def presences(self, node: int) -> Iterator[Presence]:
            return (Presence(float(k), bool(k % 2 == 0)) for k in range(1, 10**9))

    found = list(faulty(Endless(), leave=[{"node": 1, "at_s": 4.5}]).presences(1))
    assert found == [(1, False), (2, True), (3, False), (4, True), (4.5, False)]
    assert len(list(islice(faulty(Endless(), leave=[{"node": 1, "at_s": 4.5}]).presences(0), 50))) == 50


def test_slow_spells_multiply_and_end_just_before_their_end() -> None:
    conditions = faulty(
        Script(slow={2: 5.0}),
        slow=[{"node": 2, "at_s": 1, "until_s": 3, "factor": 2}, {"node": 2, "at_s": 2, "factor": 3}],
    )
    assert [conditions.slowdown(2, time) for time in (0.9, 1.0, 2.0, 2.99, 3.0)] == [5, 10, 30, 30, 15]
    assert conditions.slowdown(1, 2.0) == 1.0


def test_cuts() -> None:
    """Edges of the ring in their order: 0-1, 0-3, 1-2, 2-3; directed edges 2 e and 2 e + 1."""
    assert ring().edges.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]

    def lost(time: float, **cut: Any) -> list[int]:
        conditions = faulty(cut=[{"at_s": 1, "until_s": 2, **cut}])
        return [edge for edge in range(8) if not conditions.fate(edge, 0, 0, time)]

    assert lost(1.0, edges=[[3, 0]]) == [2, 3]
    assert lost(0.99, edges=[[3, 0]]) == lost(2.0, edges=[[3, 0]]) == []
    assert lost(1.5, groups=[[0, 1]]) == [2, 3, 4, 5]
    assert lost(1.5, groups=[[0], [2], [1, 3]]) == list(range(8))
    assert lost(1.5, groups=[[0, 1, 2, 3]]) == []


def test_bursts_follow_their_chain() -> None:
    """Share lost b / (b + e), mean length 1 / e; begun in the middle the chain is the same."""
    conditions = faulty(burst_begin=0.05, burst_end=0.25)
    lost = [not conditions.fate(3, 0, number, 0.0) for number in range(6000)]
    again = faulty(burst_begin=0.05, burst_end=0.25)
    assert [not again.fate(3, 0, number, 9.0) for number in (5999, 17, 400)] == [lost[5999], lost[17], lost[400]]
    assert lost != [not conditions.fate(2, 0, number, 0.0) for number in range(6000)]
    begun = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / 6000 == pytest.approx(0.05 / 0.30, abs=0.03)
    assert sum(lost) / begun == pytest.approx(4.0, rel=0.15)
    # A burst that ends before each next message loses one message, or begins anew after one that arrived.
    alone = [not faulty(burst_begin=0.3, burst_end=1.0).fate(0, 0, number, 0.0) for number in range(50)]
    assert any(alone) and not any(first and second for first, second in zip(alone, alone[1:], strict=False))


def test_delays_and_copies_have_their_shares_and_means() -> None:
    conditions = faulty(delay_probability=0.4, duplicate_probability=0.2, delay_s=2.5)
    fates = [conditions.fate(1, 0, number, 0.0) for number in range(4000)]
    delayed = [fate[0] for fate in fates if fate[0] > 0]
    gaps = [fate[1] - fate[0] for fate in fates if len(fate) == 2]
    assert len(delayed) / 4000 == pytest.approx(0.4, abs=0.04) and sum(delayed) / len(delayed) == pytest.approx(
        2.5, rel=0.1
    )
    assert len(gaps) / 4000 == pytest.approx(0.2, abs=0.03) and sum(gaps) / len(gaps) == pytest.approx(2.5, rel=0.15)
    assert min(gaps) > 0
    assert fates[:9] != [faulty(seed=1, delay_probability=0.4, delay_s=2.5).fate(1, 0, k, 0.0) for k in range(9)]
    # What else goes wrong does not change these draws.
    assert [faulty(delay_probability=0.4, delay_s=2.5).fate(1, 0, k, 0.0)[0] for k in range(9)] == [
        f[0] for f in fates[:9]
    ]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"leave": [{"node": 4}]}, "faults.leave: there is no node 4; allowed: 0 to 3"),
        ({"cut": [{"groups": [[0, 9]]}]}, "faults.cut: there is no node 9; allowed: 0 to 3"),
        ({"cut": [{"edges": [[0, 1]]}, {"edges": [[2, 0]]}]}, "faults.cut.1.edges: there is no edge between 2 and 0"),
    ],
)
def test_what_is_not_there_cannot_fail(faults: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_faults(FaultsConfig(**faults), ring())
    assert str(caught.value) == words


def test_who_has_left_is_away_until_now() -> None:
    usage = Usage(3, Table())
    usage.add([Notice(1.0, 0, "leaves", 0), Notice(2.0, 1, "leaves", 0), Notice(5.0, 1, "returns", 0)])
    assert usage.away_so_far() == [4.0, 3.0, 0.0]


# Whatever goes wrong.

times = st.floats(0, 12, width=16)
nodes = st.integers(0, 4)  # one too many
periods = st.fixed_dictionaries({"node": nodes, "at_s": times}, optional={"until_s": times})
shares = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 1.2])
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "burst_begin": shares,
        "burst_end": shares,
        "delay_probability": shares,
        "duplicate_probability": shares,
        "delay_s": st.sampled_from([0.0, 0.3, 5.0]),
        "leave": st.lists(periods, max_size=3),
        "slow": st.lists(st.fixed_dictionaries({"node": nodes, "factor": st.sampled_from([0.5, 8.0])}), max_size=2),
        "cut": st.lists(
            st.fixed_dictionaries(
                {"at_s": times},
                optional={
                    "until_s": times,
                    "edges": st.lists(st.tuples(nodes, nodes), max_size=2),
                    "groups": st.lists(st.lists(nodes, max_size=2), max_size=2),
                },
            ),
            max_size=2,
        ),
    },
)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(CONFIGS, st.integers(0, 3))
def test_any_schedule_is_refused_in_one_line_or_runs_to_its_end(mode: str, faults: dict[str, Any], seed: int) -> None:
    topology, costs = ring(), Table({1: 2.5}, {3: 0.4}, default=0.1, sending=0.05)
    try:
        config = Config(topology={"name": "ring", "nodes": 4}, faults=faults)
        check_faults(config.faults, topology)
    except InputError as error:
        assert "\n" not in str(error) and "faults." in str(error)
        return
    usage, found = Usage(4, costs), []
    events = make_timeline(mode, topology, 6, costs, FaultyConditions(Loss(topology), config.faults, topology, seed))
    for _ in range(100):
        if events.is_over:
            break
        round_events = list(events.advance())
        usage.add(round_events)
        found += round_events
    assert events.is_over
    assert [event.time for event in found] == sorted(event.time for event in found)
    values = [*usage.computing, *usage.waiting, *usage.sending, *usage.away_so_far(), *usage.messages, usage.seconds]
    assert min(values) >= 0 and usage.on_their_way >= 0
    sent = [key for event in found if isinstance(event, Work) for key in event.sends]
    taken = [(each.edge, each.sequence) for event in found if isinstance(event, Read) for each in event.taken]
    dropped = [(e.edge, e.sequence) for e in found if isinstance(e, Drop) and e.why != "duplicate"]
    state = events.state()
    left = [(edge, letter[0]) for edge, *letter in [*state["_flying"], *state["_arrived"]]]
    assert sorted([*taken, *dropped, *left]) == sorted(sent)
    assert usage.taken == len(taken) and usage.on_their_way == len(left)
