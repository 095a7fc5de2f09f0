"""Events between the server's process and the launcher."""

from __future__ import annotations

import pytest

from ngpd_fl.flower.events import ClientEvent, Event, FailureEvent, RoundEvent, WaitingEvent, emit, read_event

EVENTS: list[Event] = [
    RoundEvent(round=3, rounds=10, node_steps=24, seconds=0.1 + 0.2, mean=None),
    WaitingEvent(connected=1, expected=3),
    ClientEvent(round=-1, client=2, what='says "no"\nand {"event": "round"}'),
    FailureEvent(message="x" * 5000 + " ångström", is_input=True),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_line_and_comes_back_as_it_was(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    emit(event)
    (line,) = capsys.readouterr().out.splitlines()
    assert read_event(line) == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        "INFO :      Starting logstream for run_id `7`",
        "round 3/10  24 node-steps  0.1 s",
        '{"round": 3}',
        '{"event":"round"}',
        '{"event":"else","round":3}',
        '{"event":"waiting","connected":"many","expected":3}',
        '{"event":"waiting","connected":1,"expected":3,"more":1}',
        '{"event":"waiting","connected":1,',
        '{"event":' + "[" * 100_000,
        '{"event":"round","round":1,"rounds":2,"node_steps":1e999,"seconds":0,"mean":null}',
    ],
)
def test_any_other_line_is_no_event(line: str) -> None:
    assert read_event(line) is None
