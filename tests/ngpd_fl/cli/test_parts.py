"""Help, progress, folders: the small parts of the command line."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.records import Accuracies, Metrics, Progress
from ngpd_fl.records.new_folder import new_folder
from ngpd_fl.report.progress import reporting


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--help",
        "run --help",
        "compare --help",
        "topology --help",
        "show --help",
        "estimate --help",
        "evaluate --help",
        "doctor --help",
    ],
)
def test_help(words: str, cli: Callable[..., Any]) -> None:
    said = cli(*words.split())
    assert (said.code, said.err) == (0, "")
    assert "Usage: ngpd-fl" in said.out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("show", "folder of a run, of several"),
        ("study", "TOML: cells, strategies, tuning"),
        ("peer", "TOML file of the run"),
        ("new", "the folder to make"),
    ],
)
def test_help_explains_arguments(command: str, words: str, cli: Callable[..., Any]) -> None:
    assert words in " ".join(cli(command, "--help").out.split())


def metrics(round: int) -> Metrics:
    shares = dict.fromkeys(("min_accuracy", "max_accuracy", "mean_own_accuracy"), 0.5)
    lists: dict[str, Any] = {"accuracy": [0.5], "own_accuracy": [0.5]}
    classes: dict[str, Any] = {"class_accuracy": [0.5], "averaged_model_class_accuracy": [0.5]}
    counts = {"round": round, "node_steps": round, "train_seconds": 1.0, "bytes_sent": 0}
    means = {"mean_accuracy": 0.25, "averaged_model_accuracy": 0.75, "consensus_distance": 1.0}
    return Accuracies(train_loss=None, trust_shrink=None, **counts, **means, **shares, **lists, **classes)


def progress(round: int, rounds: int) -> Progress:
    return Progress(round, rounds, 100 * round, 2.0 * round, metrics(round) if round % 10 == 0 else None)


def test_a_log_gets_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("ngpd", quiet=False) as report:
        for round in range(201):
            report(progress(round, 200))
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split("round")[1].split("/")[0]) for line in lines] == list(range(0, 201, 20))
    assert lines[0] == "ngpd  round   0/200  mean  25.0 %  averaged  75.0 %"
    assert lines[1].startswith("ngpd  round  20/200  mean  25.0 %  averaged  75.0 %  50 node-steps/s  0:00 left")


def test_a_log_is_not_silent_for_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100_000, 25))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with reporting("ngpd", quiet=False) as report:
        for round in range(9):
            report(progress(round, 1000))
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) < 9
    assert "h" not in lines[-1].rpartition("  ")[2] and re.search(r"\d:\d\d:\d\d left$", lines[-1])


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with reporting("ngpd", quiet=False) as report:
        for round in range(3):
            report(progress(round, 2))
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "2/2 mean  25.0 %  averaged  75.0 %  50 node-steps/s  0:00 left" in last


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("ngpd", quiet=True) as report:
        report(progress(0, 2))
    assert capsys.readouterr() == ("", "")


def test_commands_started_at_once_get_folders_of_their_own(here: Path) -> None:
    def take(number: int) -> str:
        with new_folder(None, "name") as folder:
            (folder / "mine").write_text(str(number))
            return folder.name

    (here / "runs").mkdir()
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(take, range(16)))
    assert sorted(names) == sorted(f"name-{number}" for number in range(1, 17))


def test_folders_that_stay_empty_are_removed_with_those_made_for_them(here: Path) -> None:
    (here / "there").mkdir()
    for out in (None, Path("a/b/c"), Path("there/c"), Path("there")):
        with pytest.raises(InputError), new_folder(out, "name"):
            raise InputError("no")
    assert [path.name for path in here.rglob("*")] == ["there"]
