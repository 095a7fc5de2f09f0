"""``ngpd-fl show --follow``: evaluations as they come, until the run has ended."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.cli import follow
from ngpd_fl.records import Metrics, RunFolder, metrics
from ngpd_fl.records.files import is_locked, lock
from ngpd_fl.records.metrics import metrics_of
from tests.ngpd_fl.cli.conftest import Command
from tests.ngpd_fl.cli.test_output import ENVIRONMENT, start

fcntl = pytest.importorskip("fcntl")

SHORT = ("run", "--strategy", "dsgd", "--rounds", "14", "--nodes", "4", "--local-steps", "1", "--quiet", "--out", "out")


def rounds(text: str) -> list[int]:
    """Return the rounds of the lines of evaluations."""
    return [int(line.split("round")[1].split("/")[0]) for line in text.splitlines() if "  round " in line]


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    with start(tmp_path) as run:
        before = (tmp_path / "out" / "metrics.jsonl").read_text().count("\n")
        words = [sys.executable, "-m", "ngpd_fl", "show", "out", "--follow"]
        with subprocess.Popen(words, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            lines = [follower.stdout.readline() for _ in range(30)]  # more than are shown at first: some are new
            assert run.poll() is None and follower.poll() is None
            run.terminate()
            assert run.wait(60) == 130
            rest = follower.stdout.read()
    assert follower.returncode == 0
    shown, recorded = rounds("".join(lines) + rest), (tmp_path / "out" / "metrics.jsonl").read_text().count("\n")
    assert shown == list(range(shown[0], recorded)) and shown[0] >= max(0, before - 11)
    assert "status" in rest and "interrupted" in rest


def test_of_a_run_that_has_ended_the_latest_are_shown(quick: Command, here: Path) -> None:
    assert quick(*SHORT).code == 0
    said = quick("show", "out", "--follow")
    assert said.code == 0 and rounds(said.out) == list(range(5, 15))
    assert said.out.endswith(quick("show", "out").out)


def test_each_evaluation_is_read_once(
    quick: Command, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick(*SHORT).code == 0
    path = here / "out" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:12]) + lines[12][:9])  # the last is being written
    looks = iter([(True, lines[12][9:] + lines[13]), (True, ""), (False, "")])
    read, added = [], ""

    def goes_on(folder: RunFolder) -> bool:
        nonlocal added
        going, added = next(looks)
        return going

    def append(seconds: float) -> None:
        with path.open("a") as file:
            file.write(added)

    def count(values: Any) -> Metrics:
        read.append(values["round"])
        return metrics_of(values)

    monkeypatch.setattr(RunFolder, "is_running", property(goes_on))
    monkeypatch.setattr(follow.time, "sleep", append)
    monkeypatch.setattr(metrics, "metrics_of", count)
    capsys.readouterr()
    follow.print_evaluations(here / "out")
    assert rounds(capsys.readouterr().out) == read == list(range(2, 14))


@pytest.mark.parametrize(
    ("line", "problem"), [("no json", "line 13 is damaged"), ("", "is damaged"), ('{"round": 1}', "line 13 is damaged")]
)
def test_a_damaged_evaluation_is_named(quick: Command, here: Path, line: str, problem: str) -> None:
    assert quick(*SHORT).code == 0
    lines = (here / "out" / "metrics.jsonl").read_text().splitlines()
    (here / "out" / "metrics.jsonl").write_text("\n".join([*lines[:12], line, *lines[12:], ""]))
    code, _, error = quick("show", "out", "--follow")
    assert code == 2 and problem in error and error.count("\n") == 1


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 14), (1e308, 10**12)])
def test_times_that_cannot_be_are_no_harm(quick: Command, here: Path, seconds: float, rounds: int) -> None:
    assert quick(*SHORT).code == 0
    for name in ("metrics.jsonl", "config.toml"):
        text = (here / "out" / name).read_text().replace("rounds = 14", f"rounds = {rounds}")
        (here / "out" / name).write_text(re.sub(r'"train_seconds":[^,]*', f'"train_seconds":{seconds}', text))
    said = quick("show", "out", "--follow")
    assert (said.code, said.err) == (0, "") and " left" not in said.out.splitlines()[0]


def test_a_run_that_was_killed_has_ended(quick: Command, here: Path) -> None:
    assert quick(*SHORT).code == 0
    (here / "out" / "summary.json").unlink()
    assert "unfinished after round 14 of 14" in quick("show", "out", "--follow").out


def test_looking_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_locked(tmp_path / "file")
    with lock(tmp_path / "file"):
        assert is_locked(tmp_path / "file")
    assert not is_locked(tmp_path / "file")


def test_a_look_does_not_keep_a_run_from_its_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.02, lambda: fcntl.flock(look, fcntl.LOCK_UN)).start()
        lock(tmp_path / "file").close()


def test_several_runs_are_not_followed(quick: Command, here: Path) -> None:
    assert quick(*SHORT).code == 0
    assert quick("show", ".", "--follow") == (
        2,
        "",
        "ngpd-fl: error: --follow: . is not the folder of a run; name that of one run\n",
    )
