"""Usage, summed from events and counted by hand."""

from __future__ import annotations

import json

import pytest

from ngpd_fl.clock import Drop, Event, Notice, Read, Taken, Usage, Work
from tests.support.clocks import Table

EVENTS: list[Event] = [
    Work(2.0, 0, 0, 0.0, False, ((0, 0),)),
    Work(3.0, 1, 0, 0.0, False, ((1, 0),)),
    Drop(3.5, 0, 0, "duplicate"),
    Read(4.0, 0, 0, (Taken(1, 0, 0, 0),)),
    Notice(5.0, 1, "leaves", 0),
    Work(6.0, 0, 1, 4.0, False, ((0, 1),)),
    Drop(7.0, 0, 1, "absent"),
    Notice(8.0, 1, "returns", 1),
    Work(9.5, 0, 2, 7.0, False, ((0, 2),)),
    Read(10.0, 1, 1, (Taken(0, 0, 0, 3),)),
    Notice(11.0, 0, "leaves", 3, began=9.5),
]


def test_what_events_add_up_to() -> None:
    usage = Usage(2, Table(sending=0.25))
    usage.add(EVENTS)
    assert usage.seconds == 11.0
    assert usage.computing == [2.0 + 2.0 + 2.5 + 1.5, 3.0]
    assert usage.waiting == [2.0, 7.0]
    assert usage.sending == [0.75, 0.25]
    assert usage.away == [0.0, 3.0]
    assert usage.rounds == [1, 1]
    assert usage.messages == [3, 1]
    assert usage.taken == 2
    assert usage.dropped == {"duplicate": 1, "absent": 1}
    assert usage.ages == {0: 1, 3: 1}
    assert usage.on_their_way == 4 - 2 - 1  # a duplicate is no message more


@pytest.mark.parametrize("after", range(len(EVENTS)))
def test_it_goes_on_from_what_was_kept(after: int) -> None:
    whole, first, second = (Usage(2, Table(sending=0.25)) for _ in range(3))
    whole.add(EVENTS)
    first.add(EVENTS[:after])
    second.load(json.loads(json.dumps(first.state())))
    second.add(EVENTS[after:])
    assert second.state() == whole.state()


class Metered(Table):
    """A table whose node 0 takes 2 W when it is on, 3 W more when it computes and 4 W more when it sends."""

    known = (0, 1)

    def joules(self, node: int, elapsed: float, computing: float, sending: float) -> float | None:
        return 2 * elapsed + 3 * computing + 4 * sending if node in self.known else None


def test_the_record() -> None:
    usage = Usage(2, Metered(sending=0.25), "asynchronous")
    usage.add(EVENTS)
    assert usage.record({"params": 8, "dual": 4}, refused=1) == {
        "mode": "asynchronous",
        "virtual_seconds": 11.0,
        "joules": (2 * 11 + 3 * 8 + 4 * 0.75) + (2 * 8 + 3 * 3 + 4 * 0.25),  # without the 3 s in which node 1 was away
        "node_device": ["table", "table"],
        "node_rounds": [1, 1],
        "node_compute_seconds": [8.0, 3.0],
        "node_wait_seconds": [2.0, 7.0],
        "node_send_seconds": [0.75, 0.25],
        "node_away_seconds": [0.0, 3.0],
        "node_joules": [49.0, 26.0],
        "node_bytes_sent": [36, 12],
        "bytes_by_field": {"params": 32, "dual": 16},
        "messages_sent": 4,
        "messages_taken": 1,
        "messages_refused": 1,
        "messages_on_their_way": 1,
        "messages_dropped": {"duplicate": 1, "absent": 1},
        "staleness": {"0": 1, "3": 1},
    }
    json.dumps(usage.record({}, refused=0), allow_nan=False)


def test_energy_is_unknown_where_one_device_has_no_power() -> None:
    class Partly(Metered):
        known = (0,)

    usage = Usage(2, Partly(sending=0.25))
    usage.add(EVENTS)
    record = usage.record({"params": 8}, refused=0)
    assert record["joules"] is None and record["node_joules"] == [49.0, None]
