"""A neighbor's round is believed as far as time allows, or as another neighbor says."""

from __future__ import annotations

import pytest

from ngpd_fl.peer import claims
from ngpd_fl.peer.claims import Claims


class Clock:
    """Both clocks of a machine, which is set by hand."""

    def __init__(self) -> None:
        self.now, self.wall = 1000.0, 1e9

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(claims, "time", clock)
    return clock


def keep_step(held: Claims, clock: Clock, rounds: int) -> int:
    """So many rounds of half a second in step with a; return the next round."""
    held.start(0)
    for round in range(rounds):
        held.begin_round()
        clock.pass_by(0.5)
        held.meet(["a"], round)
    return rounds


def test_one_neighbor_is_believed_as_far_as_it_can_have_come(clock: Clock) -> None:
    held = Claims(timeout=10)
    held.start(0)
    assert (held.accepted({"a": 10}, 0), held.accepted({"a": 11}, 0)) == (10, 0)
    now = keep_step(held, clock, 20)
    assert (held.accepted({"a": now}, now), held.accepted({"a": now + 1}, now)) == (now, 0)
    clock.pass_by(10)
    assert held.accepted({"a": now + 2}, now) == 0, "it has waited for this one until now"
    clock.pass_by(3)
    assert held.accepted({"a": now + 2}, now) == 0, "what could not be when it came"
    assert (held.accepted({"a": now + 24}, now), held.accepted({"a": now + 25}, now)) == (now + 24, 0)
    held.meet(["a"], now + 24)
    assert held.accepted({"a": now + 27}, now + 25) == 0


def test_one_neighbor_alone_takes_nobody_away_from_others_that_keep_step(clock: Clock) -> None:
    held = Claims(timeout=10)
    now = keep_step(held, clock, 20)
    for _ in range(26):
        held.begin_round()
        clock.pass_by(0.5)
        held.meet(["b"], now)
        now += 1
    assert (held.accepted({"a": 20 + 7}, now), held.accepted({"a": 20 + 8}, now)) == (27, 0)


def test_two_neighbors_are_believed(clock: Clock) -> None:
    held = Claims(timeout=10)
    keep_step(held, clock, 5)
    assert held.accepted({"a": 5000, "b": 4000}, 5) == 4000
    assert held.accepted({"a": 5000, "b": 4000, "c": 4500}, 5) == 4500
    assert held.accepted({}, 5) == 0


def test_a_life_knows_how_long_it_was_away(clock: Clock) -> None:
    held = Claims(timeout=10)
    keep_step(held, clock, 40)
    kept = held.state()
    clock.wall += 100
    later = Claims(timeout=10)
    later.load(kept)
    later.start(40)
    assert (later.accepted({"a": 40 + 10 + 800}, 40), later.accepted({"a": 40 + 10 + 801}, 40)) == (850, 0)
    clock.wall -= 1e8  # the clock has gone back: nothing is known of the time
    later = Claims(timeout=10)
    later.load(kept)
    later.start(40)
    assert (later.accepted({"a": 50}, 40), later.accepted({"a": 51}, 40)) == (50, 0)
    clock.pass_by(1)
    assert (later.accepted({"a": 58}, 40), later.accepted({"a": 59}, 40)) == (58, 0), "from here on it is"


def test_rounds_with_a_timeout_do_not_count_for_the_pace(clock: Clock) -> None:
    held = Claims(timeout=0)
    now = keep_step(held, clock, 20)
    held.timed_out()
    clock.pass_by(1000)
    held.begin_round()
    held.meet(["a"], now)
    clock.pass_by(1)
    assert held.accepted({"a": now + 1 + 8}, now + 1) == now + 9
