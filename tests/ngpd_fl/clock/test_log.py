"""Event logs: what is written is what is read; what is damaged, or of another network, is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ngpd_fl.clock import Event, Replay, keep_rounds, write_round
from ngpd_fl.config import InputError
from tests.ngpd_fl.clock.test_usage import EVENTS

ROUNDS = [EVENTS[:4], [], EVENTS[4:]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three rounds of two nodes on one edge."""
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        for events in ROUNDS:
            write_round(file, events)
    return path


def rounds(path: Path) -> list[list[Event]]:
    replay, found = Replay(path, 2, 1), list[list[Event]]()
    while not replay.is_over:
        found.append(list(replay.advance()))
    return found


def test_what_is_written_is_read(log: Path) -> None:
    assert rounds(log) == ROUNDS


def test_a_replay_goes_on_from_what_was_kept(log: Path) -> None:
    first, second = Replay(log, 2, 1), Replay(log, 2, 1)
    list(first.advance())
    second.load(first.state())
    assert (second.now, second.round, second.is_over) == (4.0, 1, False)
    assert [list(second.advance()) for _ in range(2)] == ROUNDS[1:]
    assert second.is_over


@pytest.mark.parametrize("kept", range(4))
def test_rounds_are_kept_from_the_start(log: Path, kept: int) -> None:
    with log.open("a") as file:
        file.write('{"event": "wor')  # cut off by a crash
    keep_rounds(log, kept)
    assert rounds(log) == ROUNDS[:kept]


def test_a_round_that_did_not_end_is_left_out(log: Path) -> None:
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]))
    assert rounds(log) == ROUNDS[:2]


@pytest.mark.parametrize(
    "line", ["nonsense", "3", "[]", '{"event": "rest"}', '{"event": "drop", "time": 1}', '{"event": "read"', "null"]
)
def test_a_damaged_line_is_named(log: Path, line: str) -> None:
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(InputError, match="line 3 is (not an event|damaged)"):
        Replay(log, 2, 1)


def test_another_network_is_refused(log: Path) -> None:
    with pytest.raises(InputError, match="line 2 belongs to another network$"):
        Replay(log, 1, 1)
    with pytest.raises(InputError, match="line 1 belongs to another network$"):
        Replay(log, 2, 0)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, words in (("gone", "cannot be read"), ("binary", "line 1 is damaged .is UTF-16 text")):
        with pytest.raises(InputError, match=words):
            Replay(tmp_path / name, 2, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("time", "1"), ("time", True), ("node", 0.0), ("round", -1), ("renew", 1), ("sends", [[0]]), ("began", None)],
)
def test_a_field_of_another_type_is_found_when_the_log_is_read(log: Path, field: str, value: object) -> None:
    lines = log.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if '"work"' in line)
    lines[place] = json.dumps(json.loads(lines[place]) | {field: value}) + "\n"
    log.write_text("".join(lines))
    with pytest.raises(InputError, match=rf"line {place + 1} is not an event \({field}"):
        Replay(log, 2, 1)


@pytest.mark.parametrize("kind", ["work", "read"])
def test_an_event_that_cannot_come_there_is_found_when_the_log_is_read(log: Path, kind: str) -> None:
    """Event logs that send a message twice, or apply one that is no longer on its way."""
    lines = log.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if f'"{kind}"' in line)
    log.write_text("".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]))
    with pytest.raises(InputError, match=f"line {place + 2} cannot come after what is before it"):
        Replay(log, 2, 1)
