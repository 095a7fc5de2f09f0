"""Event times worked out on paper, for two and three nodes, in each mode and under each kind of fault.

On a path 0 - 1 directed edge 0 leads from 0 to 1 and edge 1 back; on 0 - 1 - 2 edges 2 and 3 join 1 and 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpd_fl.clock import MODES, Drop, Event, Loss, Notice, Read, Work, from_json, make_timeline, to_json
from ngpd_fl.clock.timeline import Timeline
from tests.support.clocks import Script, Table
from topologies import parse_topology


def timeline(mode: str, nodes: int, costs: Table, conditions: Any = None, rounds: int = 3, **more: Any) -> Timeline:
    topology = parse_topology({"name": "path", "nodes": nodes}).build(seed=0)
    return make_timeline(mode, topology, rounds, costs, conditions or Script(), **more)


def play(events: Timeline, most: int = 1000) -> list[Event]:
    """All that happens."""
    found: list[Event] = []
    for _ in range(most):
        if events.is_over:
            break
        found += events.advance()
    return found


def brief(events: Iterable[Event]) -> list[Any]:
    """(time, node, round) of works, the same with what was taken of reads; ages and numbers are left out."""
    short: list[Any] = []
    for event in events:
        if isinstance(event, Work):
            short.append((event.time, "work", event.node, event.round))
        elif isinstance(event, Read):
            short.append((event.time, "read", event.node, event.round, {each.edge: each.round for each in event.taken}))
        elif isinstance(event, Drop):
            short.append((event.time, event.why, event.edge, event.sequence))
        else:
            short.append((event.time, event.what, event.node, event.round))
    return short


SLOW = Table({0: 1.0, 1: 3.0}, {0: 0.5, 1: 0.25})
"""Node 1 computes three times as long; 0 -> 1 takes half a second, 1 -> 0 a quarter."""


def test_synchronous_waits_for_the_slowest_node_and_the_slowest_message() -> None:
    # Round 0: node 0 is ready at 1 (its message there at 1.5), node 1 at 3 (its message there at 3.25).
    assert brief(play(timeline("synchronous", 2, SLOW, rounds=2))) == [
        (1.0, "work", 0, 0),
        (3.0, "work", 1, 0),
        (3.25, "read", 0, 0, {1: 0}),
        (3.25, "read", 1, 0, {0: 0}),
        (4.25, "work", 0, 1),
        (6.25, "work", 1, 1),
        (6.5, "read", 0, 1, {1: 1}),
        (6.5, "read", 1, 1, {0: 1}),
    ]


def test_local_waits_for_its_own_neighbors() -> None:
    # Node 1 has node 0's message at 1.5 and reads when it is ready itself, at 3; node 0 at 3.25. Then 0 is ready at
    # 4.25 (there at 4.75), 1 at 6 (there at 6.25).
    assert brief(play(timeline("neighbor-synchronous", 2, SLOW, rounds=2))) == [
        (1.0, "work", 0, 0),
        (3.0, "work", 1, 0),
        (3.0, "read", 1, 0, {0: 0}),
        (3.25, "read", 0, 0, {1: 0}),
        (4.25, "work", 0, 1),
        (6.0, "work", 1, 1),
        (6.0, "read", 1, 1, {0: 1}),
        (6.25, "read", 0, 1, {1: 1}),
    ]


def test_asynchronous_waits_for_nobody() -> None:
    # Node 0 is ready at 1, 2, 3, ...; node 1 at 3. Of node 0's messages, there at 1.5, 2.5 and 3.5, node 1 reads at 3
    # the second: the first is outdated. Two nodes do 2 x 2 rounds together; the fourth read ends the run.
    assert brief(play(timeline("asynchronous", 2, SLOW, rounds=2))) == [
        (1.0, "work", 0, 0),
        (1.0, "read", 0, 0, {}),
        (2.0, "work", 0, 1),
        (2.0, "read", 0, 1, {}),
        (2.5, "outdated", 0, 0),
        (3.0, "work", 0, 2),
        (3.0, "work", 1, 0),
        (3.0, "read", 0, 2, {}),
        (3.0, "read", 1, 0, {0: 1}),
    ]


def test_ages_count_the_rounds_that_the_receiver_has_ended_since() -> None:
    events = play(timeline("asynchronous", 2, Table({0: 1.0, 1: 1.0}, {0: 2.25, 1: 0.5}), rounds=4))
    ages = {(e.node, e.round): [each.age for each in e.taken] for e in events if isinstance(e, Read)}
    # 1 -> 0: sent at 1, 2, 3, there at 1.5, 2.5, 3.5, read at 2, 3, 4: 0 has ended one round (the read of the same
    # time as the sending). 0 -> 1: sent at 1, there at 3.25, read at 4, after 1 had read at 1, 2 and 3.
    assert ages == {(0, 0): [], (0, 1): [1], (0, 2): [1], (0, 3): [1], (1, 0): [], (1, 1): [], (1, 2): [], (1, 3): [3]}


def test_three_nodes_of_which_the_ends_do_not_wait_for_each_other() -> None:
    # Node 2 takes 4 s, nodes 0 and 1 take 1 s; messages take no time. Node 1 waits for 2, and 0 for 1, a round later.
    found = [
        each
        for each in brief(play(timeline("neighbor-synchronous", 3, Table({2: 4.0}), rounds=2)))
        if each[1] == "read"
    ]
    assert found == [
        (1.0, "read", 0, 0, {1: 0}),
        (4.0, "read", 1, 0, {0: 0, 3: 0}),
        (4.0, "read", 2, 0, {2: 0}),
        (5.0, "read", 0, 1, {1: 1}),
        (8.0, "read", 1, 1, {0: 1, 3: 1}),
        (8.0, "read", 2, 1, {2: 1}),
    ]


def test_a_message_of_the_next_round_that_is_there_already_waits() -> None:
    # Node 0 ends round 0 at 1 and has sent its message of round 1 at 2; node 1 ends its round 0 at 4, with 0's first.
    found = brief(play(timeline("neighbor-synchronous", 3, Table({2: 4.0}), rounds=2)))
    assert found.index((2.0, "work", 0, 1)) < found.index((4.0, "read", 1, 0, {0: 0, 3: 0}))


@pytest.mark.parametrize("mode", ["synchronous", "neighbor-synchronous"])
def test_a_lost_message_is_waited_for_until_it_should_have_come(mode: str) -> None:
    found = brief(play(timeline(mode, 2, SLOW, Script(fates={(1, 0): ()}), rounds=1)))
    assert (3.25, "lost", 1, 0) in found
    assert (3.25, "read", 0, 0, {}) in found


def test_a_message_that_comes_twice_is_taken_once() -> None:
    found = brief(play(timeline("asynchronous", 2, Table({1: 1.5}), Script(fates={(0, 0): (0.1, 1.0)}), rounds=3)))
    assert (2.0, "duplicate", 0, 0) in found
    taken = [each[4].get(0) for each in found if each[1] == "read" and each[2] == 1]
    assert taken[:2] == [0, 2]  # at 3.0 that of the same time is there


def test_an_older_message_that_comes_later_is_dropped() -> None:
    found = brief(play(timeline("asynchronous", 2, Table({1: 2.5}), Script(fates={(0, 0): (2.0,)}), rounds=3)))
    # Sent at 1, there at 3, while node 1 has read at 2.5 the message of time 2.
    assert (2.5, "read", 1, 0, {0: 1}) in found and (3.0, "outdated", 0, 0) in found


def test_a_timeout() -> None:
    # Node 1 takes 5 s; node 0 gives up 2 s after it has sent: reads at 3, 6, 9 without. Node 1's message of round 0 is
    # there at 5 and read at 6. At its own read at 5, node 1 finds messages of rounds 0 and 1: one ahead, not given up.
    found = brief(play(timeline("neighbor-synchronous", 2, Table({1: 5.0}), rounds=4, timeout=2.0)))
    assert [each for each in found if each[2:4] == (0, 0) or each[0] in (5.0, 6.0)] == [
        (1.0, "work", 0, 0),
        (3.0, "read", 0, 0, {}),
        (5.0, "work", 1, 0),
        (5.0, "read", 1, 0, {0: 0}),
        (6.0, "read", 0, 1, {1: 0}),
    ]


def test_a_node_that_was_given_up_skips_to_where_its_neighbors_are() -> None:
    # Node 1 takes 10 s, node 0 ends its rounds at 3, 6, 9: at 10 its messages of rounds 0 to 3 are there (sent at 1, 4,
    # 7, 10); that of round 3 is read, and node 1 goes on with round 4.
    found = brief(play(timeline("neighbor-synchronous", 2, Table({1: 10.0}), rounds=6, timeout=2.0)))
    at_ten = [each for each in found if each[0] == 10.0]
    assert at_ten == [
        (10.0, "work", 0, 3),
        (10.0, "work", 1, 0),
        (10.0, "outdated", 0, 0),
        (10.0, "outdated", 0, 1),
        (10.0, "outdated", 0, 2),
        (10.0, "read", 1, 0, {0: 3}),
        (10.0, "skips", 1, 4),
    ]
    assert (12.0, "read", 0, 3, {1: 0}) in found  # of another round than its own, so node 0 waited for better


AWAY = Script(comings=[(1.5, 1, False), (6.2, 1, True)])


def test_synchronous_goes_on_without_a_node_that_leaves() -> None:
    # Node 1 leaves in round 1 (1 s to 2 s): its message never is; node 0's, there at 2, finds nobody. It is back at 6.2
    # and takes part from round 7 on: node 0's round 6 lasts until 7.
    found = brief(play(timeline("synchronous", 2, Table(), AWAY, rounds=8)))
    assert [each for each in found if each[1] in ("leaves", "returns", "absent")] == [
        (1.5, "leaves", 1, 1),
        *[(2.0 + k, "absent", 0, 1 + k) for k in range(5)],
        (6.2, "returns", 1, 1),
    ]
    works = [each for each in found if each[1] == "work" and each[2] == 1]
    assert works == [(1.0, "work", 1, 0), (8.0, "work", 1, 7)]


def test_local_does_not_wait_for_a_node_that_is_away() -> None:
    found = brief(play(timeline("neighbor-synchronous", 2, Table(), AWAY, rounds=8)))
    assert [each[0] for each in found if each[1] == "read" and each[2] == 0] == [1, 2, 3, 4, 5, 6, 7.2, 8.2]
    # Back at 6.2, while node 0 is in its round 6: node 1 begins that one.
    assert (7.2, "work", 1, 6) in found


def test_asynchronous_node_goes_on_where_it_was() -> None:
    found = brief(play(timeline("asynchronous", 2, Table(), AWAY, rounds=8)))
    assert [each[3] for each in found if each[1] == "work" and each[2] == 1][:3] == [0, 1, 2]
    assert (7.2, "work", 1, 1) in found


def test_a_node_that_joins_renews_its_curvature() -> None:
    conditions = Script(comings=[(0.0, 1, False), (2.5, 1, True)])
    works = [
        e
        for e in play(timeline("neighbor-synchronous", 2, Table(), conditions, rounds=5))
        if isinstance(e, Work) and e.node
    ]
    assert [(e.round, e.renew) for e in works] == [(2, True), (3, False), (4, False)]


@pytest.mark.parametrize("mode", MODES)
def test_nodes_that_never_return_end_the_run(mode: str) -> None:
    gone = Script(comings=[(2.5, 0, False), (2.5, 1, False)])
    events = timeline(mode, 2, Table(), gone, rounds=9)
    found = play(events)
    assert events.is_over and events.round == 2
    assert max(event.time for event in found) == 2.5


@pytest.mark.parametrize("mode", MODES)
def test_one_that_never_returns_does_not_stop_the_others(mode: str) -> None:
    events = timeline(mode, 3, Table(), Script(comings=[(1.5, 0, False)]), rounds=6)
    reads = Counter(e.node for e in play(events) if isinstance(e, Read))
    assert reads[0] == 1 and reads[1] >= 6 and reads[2] >= 6


def test_slowdown_stretches_the_computation() -> None:
    assert brief(play(timeline("asynchronous", 2, Table(), Script(slow={1: 2.5}), rounds=1)))[-1][0] == 2.0
    works = [
        e
        for e in play(timeline("neighbor-synchronous", 2, Table(), Script(slow={1: 2.5}), rounds=1))
        if isinstance(e, Work)
    ]
    assert [(e.node, e.began, e.time) for e in works] == [(0, 0.0, 1.0), (1, 0.0, 2.5)]


def test_messages_wait_for_their_senders_uplink() -> None:
    # Rounds of 1 s, messages of 2.5 s: those of times 1, 2 and 3 leave at 1, 3.5 and 6 and are there 2.5 s later.
    costs = Table({0: 1.0, 1: 20.0}, default=2.5, sending=2.5)
    found = brief(play(timeline("asynchronous", 2, costs, rounds=6)))
    assert [(each[0], each[3]) for each in found if each[1] == "outdated"] == [(6.0, 0), (8.5, 1), (11.0, 2)]
    with_room = brief(play(timeline("asynchronous", 2, Table({0: 1.0, 1: 20.0}, default=2.5), rounds=6)))
    assert [each[0] for each in with_room if each[1] == "outdated"][:3] == [4.5, 5.5, 6.5]


# Whatever the conditions.

durations = st.sampled_from([0.3, 1.0, 1.0, 1.7, 6.0])
delays = st.sampled_from([0.0, 0.0, 0.2, 1.3, 9.0])


@st.composite
def networks(draw: Any) -> tuple[Any, Table, Script]:
    schedule = draw(st.sampled_from(["static", "matching"]))
    shape = {"name": draw(st.sampled_from(["ring", "star"])), "nodes": 4, "schedule": schedule}
    topology = parse_topology(shape).build(seed=0)
    edges = range(2 * len(topology.edges))
    costs = Table({node: draw(durations) for node in range(4)}, {edge: draw(delays) for edge in edges})
    fates = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(edges), st.integers(0, 8)),
            st.lists(delays, max_size=3).map(tuple),
            max_size=12,
        )
    )
    comings = draw(st.lists(st.tuples(st.floats(0, 20, width=16), st.integers(0, 3), st.booleans()), max_size=6))
    return topology, costs, Script(comings, fates)


@pytest.mark.parametrize(
    ("mode", "timeout"),
    [("synchronous", None), ("neighbor-synchronous", None), ("neighbor-synchronous", 1.1), ("asynchronous", None)],
)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), st.integers(0, 6))
def test_every_message_is_taken_or_dropped_once_and_time_runs_forward(
    mode: str, timeout: float | None, network: tuple[Any, Table, Script], pause: int
) -> None:
    topology, costs, conditions = network
    rounds = 8

    def make() -> Timeline:
        return make_timeline(mode, topology, rounds, costs, conditions, timeout)

    events = make()
    found = play(events, 200)
    assert events.is_over
    assert [event.time for event in found] == sorted(event.time for event in found)
    assert all(event.time >= 0 for event in found)
    sent = [key for event in found if isinstance(event, Work) for key in event.sends]
    taken = [(e.edge, e.sequence) for event in found if isinstance(event, Read) for e in event.taken]
    dropped = [(e.edge, e.sequence) for e in found if isinstance(e, Drop) and e.why != "duplicate"]
    assert len(set(sent)) == len(sent) and len({*taken, *dropped}) == len(taken) + len(dropped)
    state = events.state()
    left = [(edge, letter[0]) for edge, *letter in [*state["_flying"], *state["_arrived"]]]
    assert sorted([*taken, *dropped, *left]) == sorted(sent)
    order = {key: number for number, event in enumerate(found) if isinstance(event, Work) for key in event.sends}
    for number, event in enumerate(found):
        if isinstance(event, Read):
            assert all(order[each.edge, each.sequence] < number and each.age >= 0 for each in event.taken)
    for node in range(topology.num_nodes):
        own = [type(event) for event in found if isinstance(event, Work | Read) and event.node == node]
        assert all(kinds != (Read, Read) for kinds in zip(own, own[1:], strict=False))
    works = Counter(event.round for event in found if isinstance(event, Work))
    if not conditions.comings and timeout is None and mode != "asynchronous":
        assert works == dict.fromkeys(range(rounds), topology.num_nodes)
    # Stopped, written down and gone on with, it is the same.
    first, second = make(), make()
    before = [event for _ in range(pause) if not first.is_over for event in first.advance()]
    second.load(json.loads(json.dumps(first.state())))
    assert [*before, *play(second, 200)] == found
    assert [from_json(json.loads(json.dumps(to_json(event)))) for event in found] == found


@pytest.mark.parametrize("mode", MODES)
def test_identical_devices_without_delay_keep_step(mode: str) -> None:
    topology = parse_topology({"name": "ring", "nodes": 6}).build(seed=0)
    events = make_timeline(mode, topology, 4, Table(), Loss(topology, 0.3, seed=1))
    for number in range(4):
        found = list(events.advance())
        kinds = [type(event) for event in found if isinstance(event, Work | Read)]
        assert kinds == [Work] * 6 + [Read] * 6
        assert {event.round for event in found if isinstance(event, Work | Read)} == {number}
        assert events.now == number + 1.0
        assert all(each.round == number and each.age == 0 for e in found if isinstance(e, Read) for each in e.taken)
    assert events.is_over


@pytest.mark.parametrize(
    "values", [{}, {"event": "walk"}, {"event": "notice", "time": 0}, {"event": "drop", "node": 1}, {"event": None}]
)
def test_what_is_no_event_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an event"):
        from_json(values)


def test_notices() -> None:
    found = [e for e in play(timeline("neighbor-synchronous", 2, Table(), AWAY, rounds=8)) if isinstance(e, Notice)]
    assert [(e.what, e.node) for e in found] == [("leaves", 1), ("returns", 1)]
