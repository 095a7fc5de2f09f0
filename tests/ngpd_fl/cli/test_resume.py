"""``ngpd-fl resume``: what it prints, and what it refuses in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.records import RunFolder
from tests.support.interrupted_runs import FAST, interrupt

CONFIG = Config(**FAST, strategy="dsgd")


def test_it_can_be_watched(quick: Callable[..., Any], here: Path) -> None:
    interrupt(CONFIG, here / "out", after=6)
    said = quick("resume", "out", "--watch")
    assert said.code == 0 and "watch it at http://127.0.0.1:" in said.err


def test_a_run_that_was_interrupted_goes_on(cli: Callable[..., Any], here: Path) -> None:
    interrupt(CONFIG, here / "out", after=6, checkpoint_every=5)
    said = cli("resume", "out")
    assert said.code == 0
    assert [line.split("  ")[1] for line in said.err.splitlines()] == [f"round {round}/8" for round in (5, 6, 7, 8)]
    assert "finished after 8 rounds" in said.out and "\nrecords in out\n" in said.out
    assert (here / "out/plots/accuracy_rounds.png").exists()
    error = "ngpd-fl: error: out: the run is over (finished); only one that was cut short can be resumed\n"
    assert cli("resume", "out") == (2, "", error)


def test_warnings_are_printed_whatever_else_is_not(quick: Callable[..., Any], here: Path) -> None:
    interrupt(CONFIG, here / "out", after=3)
    warning = "ngpd-fl: warning: out: there is no checkpoint; the run begins again\n"
    assert quick("resume", "out", "--quiet", "--checkpoint-every", "4") == (0, "", warning)
    assert RunFolder(here / "out").checkpoints.rounds() == [8, 4]


def test_a_run_can_be_interrupted_again(quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(CONFIG, here / "out", after=5, checkpoint_every=2)

    def stumble(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ngpd_fl.engines.SynchronousEngine.run_round", stumble)
        said = quick("resume", "out")
    # the last evaluation is that of round 3
    assert (said.code, "interrupted after round 3 of 8" in said.out) == (130, True)
    assert said.err.splitlines()[-1] == (
        "ngpd-fl: dsgd interrupted after round 4 of 8; records are kept in out, `ngpd-fl resume out` goes on, "
        "`ngpd-fl show out --plots` draws them"
    )
    assert quick("resume", "out", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("resume", "Missing argument 'DIR'"),
        ("resume nowhere", "nowhere: not a run's folder (it should hold config.toml and environment.json)"),
        ("resume . --checkpoint-every 0", "Invalid value for '--checkpoint-every': 0 is not in the range x>=1"),
        ("resume . --nodes 9", "No such option"),
        ("run --checkpoint-every x", "Invalid value for '--checkpoint-every': 'x' is not a valid integer"),
    ],
)
def test_bad_input(words: str, error: str, cli: Callable[..., Any], here: Path) -> None:
    said = cli(*words.split())
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"ngpd-fl: error: {error}")
    assert list(here.iterdir()) == []
