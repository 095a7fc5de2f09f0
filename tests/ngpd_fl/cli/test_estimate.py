"""``ngpd-fl estimate``: figures in words, a warning where the memory will not do, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.core import machine
from ngpd_fl.records import RunFolder
from ngpd_fl.report import units

SHORT = ("--rounds", "2", "--nodes", "4", "--local-steps", "2")


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a round takes is not looked at."""
    monkeypatch.setattr("ngpd_fl.profiling.timing._REPEATS", 1)


def row(out: str, name: str) -> str:
    return " ".join(next(line for line in out.splitlines() if line.startswith(f"  {name}")).split())


def test_an_estimate_and_its_run(quick: Callable[..., Any], here: Path) -> None:
    said = quick("estimate", *SHORT)
    assert (said.code, said.err.strip()) == (0, "")
    assert list(here.iterdir()) == []
    assert quick("run", *SHORT, "--out", "out", "--quiet").code == 0
    sent = RunFolder.open(here / "out").summary()["bytes_sent"]
    assert row(said.out, "all") == f"all {units.size(sent / 2)} {units.size(sent)} exact"
    assert row(said.out, "one message") == f"one message {units.size(4 * 4810)} exact; 4,810 parameters"
    assert row(said.out, "parameters").endswith("exact")
    assert "measured, times 2" in row(said.out, "rounds")
    assert "times 3" in row(said.out, "evaluation")
    assert "the memory is enough" in said.out


def test_a_run_on_real_valued_targets(cli: Callable[..., Any]) -> None:
    """11 parameters; a message of ecl is a vector of as many floats, sent over each edge both ways."""
    said = cli("estimate", "--dataset", "diabetes", "--model", "softmax", "--strategy", "ecl", *SHORT)
    assert (said.code, said.err.strip()) == (0, "")
    assert row(said.out, "one message") == f"one message {4 * 11} B exact; 11 parameters"
    assert row(said.out, "all") == f"all {8 * 44} B {2 * 8 * 44} B exact"
    assert "the memory is enough" in said.out and "ends early" not in said.out


def test_a_run_that_may_end_early(cli: Callable[..., Any]) -> None:
    """Its figures are those of all rounds, and it is said so."""
    words = ("--strategy", "dsgd", "--model", "softmax", *SHORT)
    plain, early = (cli("estimate", *words, *more).out for more in ((), ("--until-accuracy", "0.05")))
    assert early.rstrip().endswith("the whole run is all 2 rounds; at 5 % it ends early")
    assert row(early, "all") == row(plain, "all")
    said = cli("estimate", "--dataset", "diabetes", "--until-accuracy", "0.9")
    assert (said.code, said.out) == (2, "")
    assert "training.until_accuracy: diabetes has real-valued targets, which have no accuracy" in said.err


def test_too_little_memory(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing large is tried there."""
    held = machine.resident()
    monkeypatch.setattr(machine, "memory", lambda: held)
    monkeypatch.setattr("ngpd_fl.profiling.estimation.measure_rounds", None)
    out = cli("estimate", *SHORT).out
    assert "WARNING: the memory is too little" in out and "engine.chunk_size" in out and "strategy.mixing=0" in out
    assert "too large to be measured" in row(out, "rounds")
    assert "in all" not in out


def test_almost_too_little_memory(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    held = machine.peak_resident()
    monkeypatch.setattr(machine, "memory", lambda: int(held * 1.2))
    out = cli("estimate", "--strategy", "dsgd", *SHORT).out
    assert "WARNING: the memory may be too little" in out and "strategy.rank" not in out


def test_bad_input(cli: Callable[..., Any]) -> None:
    said = cli("estimate", "--partition", "classes", "--nodes", "2000")
    assert (said.code, said.out, said.err.strip().count("\n")) == (2, "", 0)
    assert "topology.nodes: 2000 nodes but only 1298 training examples" in said.err
