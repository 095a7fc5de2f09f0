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
