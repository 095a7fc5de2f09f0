"""A peer whose records are lost, old, or of a clock that went back is taken back by its neighbors, and all say so."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.peer import incarnation
from ngpd_fl.peer.incarnation import is_credible, next_incarnation
from ngpd_fl.peer.run import read_self, write_self
from ngpd_fl.peer.timeouts import NodeTimeouts
from tests.ngpd_fl.peer.test_engine import After, config
from tests.support.peers import Crowd

YEAR_2100 = 4_102_444_800_000_000


def test_numbers_grow_with_the_clock_and_with_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next_incarnation()
    assert next_incarnation() > first and next_incarnation(YEAR_2100) == YEAR_2100 + 1
    monkeypatch.setattr(incarnation.time, "time_ns", lambda: 0)
    assert next_incarnation(first) == first + 1 and next_incarnation() == 1


def test_above_any_credible_number_there_is_another() -> None:
    assert not any(map(is_credible, (0, -1, 1 << 62, (1 << 64) - 1)))
    known = (1 << 62) - 1
    assert is_credible(known) and is_credible(known + 1, known) and not is_credible(1 << 63, known)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
@pytest.mark.parametrize("loss", ["records", "records and clock", "backup", "backup and clock"])
def test_a_peer_is_taken_back(loss: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 100_000
    training = {"rounds": rounds, "local_steps": 1, "mode": mode}
    here = config(
        topology={"name": "path", "nodes": 2}, strategy="ecl", training=training, evaluation={"every": rounds}
    )
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(20, 0.2))
    crowd.engines = {}  # type: ignore[attr-defined]

    def begin(number: int, stop: Any) -> Any:
        events: list[str] = []

        def on_start(engine: Any, recorder: Any) -> None:
            stop.engine = engine

        thread = crowd.start(
            number, is_over=stop, on_start=on_start, on_event=events.append, timeouts=crowd.timeouts, checkpoint_every=5
        )
        return thread, events

    staying = After(rounds)
    first, its_events = begin(0, staying)
    for start in range(2):
        stop = After(20)
        thread, _ = begin(1, stop)
        thread.join(60)
        if start == 0:
            shutil.copytree(crowd.folder(1), tmp_path / "backup")
            stop.round = 40
    shutil.rmtree(crowd.folder(1))
    if "backup" in loss:
        shutil.copytree(tmp_path / "backup", crowd.folder(1))
    with monkeypatch.context() as patch:
        if "clock" in loss:
            patch.setattr(incarnation.time, "time_ns", lambda: 1000)
        stop = After(rounds)
        thread, events = begin(1, stop)
        before = time.monotonic()
        while stop.engine is None or sum(staying.engine.ages.values()) == 0 or not taken(staying, stop):
            assert time.monotonic() < before + 60 and thread.is_alive()
            time.sleep(0.01)
    stop.round = staying.round = 0
    for each in (first, thread):
        each.join(60)
    assert not crowd.errors
    is_known_by_number = loss == "records and clock"
    assert any("knows a later start of this process" in each for each in events) == is_known_by_number
    assert any("node 1 is refused: a later start of it is known" in each for each in its_events) == is_known_by_number
    if is_known_by_number:
        for number, words in ((0, "is refused: a later start"), (1, "knows a later start")):
            assert words in (crowd.folder(number) / "peer_events.jsonl").read_text()


def taken(staying: Any, stop: Any) -> bool:
    """Whether each end has taken in messages of the other's present incarnation."""
    ends = (staying.engine, stop.engine)
    return all(
        ours._known.get(edge) == theirs._number(edge ^ 1)
        for ours, theirs in (ends, ends[::-1])
        for edge in ours._group.incoming
    )


@pytest.mark.parametrize("number", ["Infinity", "1e999", "true", "-1", "NaN", '"1"', "[1]", "1.5", "9" * 5000])
@pytest.mark.parametrize("key", ["starts", "incarnation"])
def test_a_damaged_record_of_the_starts_is_refused(key: str, number: str, tmp_path: Path) -> None:
    write_self(tmp_path, [0], 1, 5)
    assert read_self(tmp_path) == ([0], 1, 5)
    text = (tmp_path / "peer.json").read_text()
    (tmp_path / "peer.json").write_text(text.replace(f'"{key}": {1 if key == "starts" else 5}', f'"{key}": {number}'))
    with pytest.raises(InputError, match="damaged"):
        read_self(tmp_path)
