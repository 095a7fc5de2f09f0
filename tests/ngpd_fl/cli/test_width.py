"""Output in 80 columns, where no terminal is wider; nothing is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.table import Table

from ngpd_fl.cli.console import print_lines, print_step, print_table
from ngpd_fl.report.progress import reporting
from tests.ngpd_fl.cli.conftest import Command
from tests.ngpd_fl.cli.test_parts import progress

SHORT = ("--rounds", "2", "--nodes", "4", "--local-steps", "1", "--out", "out", "--quiet")


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def width(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("label", ["ngpd", "momentum-tracking", "fedavg (momentum-tracking)", "name-of-a-peer" * 9])
def test_lines_of_progress(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = 200 if label == "ngpd" else 5000
    with reporting(label, quiet=False) as report:
        for round in range(0, rounds + 1, 10):
            report(progress(round, rounds))
    lines = capsys.readouterr().err
    assert width(lines) <= 80
    for line in lines.splitlines():
        assert line.startswith(label[:27]) and "mean  25.0 %" in line
    assert "left" in lines and ("node-steps/s" in lines) == (label == "ngpd")


def test_keys(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = cli("keys").out
    assert 72 < width(narrow) <= 80
    monkeypatch.setenv("COLUMNS", "150")
    wide = cli("keys").out
    assert 140 < width(wide) <= 150 and wide.split() == narrow.split()


def test_a_comparison_of_long_names(quick: Command) -> None:
    clock = ("--set", "training.mode=asynchronous", "--set", "training.until_accuracy=0.99")
    assert quick("compare", "--strategies", "dsgd,momentum-tracking", *clock, *SHORT).code == 0
    out = quick("show", "out").out
    assert width(out) <= 80 and out.count("\nmomentum-tracking ") == out.count("\ndsgd ") == 2


def test_columns_that_do_not_fit_come_below(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", *(f"head {number}" for number in range(30)), pad_edge=False, show_edge=False)
    table.add_row("row", *(f"value-{number}" for number in range(30)))
    print_table("heading", table, "foot")
    out = capsys.readouterr().out
    assert width(out) <= 80
    assert [word for word in out.split() if word.startswith("value-")] == [f"value-{number}" for number in range(30)]
    assert out.count("\nrow ") == out.count("\nname ") > 1


def test_a_word_that_is_too_long_goes_on_in_the_next_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines("heading", [("name", "x" * 200)], "foot")
    out = capsys.readouterr().out
    assert width(out) <= 80 and out.count("x") == 200


def test_commands_and_paths_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    command = "`ngpd-fl resume a/folder/with/a/long/name --rounds 1000`"
    print_lines("heading", [("name", "value")], f"records are in {'path/' * 30}; {command} goes on")
    lines = capsys.readouterr().out.splitlines()
    assert any(command in line for line in lines) and any("path/" * 30 in line for line in lines)


def test_a_step_that_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    print_step("1 of 24 runs done", "cell/strategy trial 0", "accuracy 19.3 %")
    print_step("1 of 24 runs done", "a cell with a long name/a strategy with a long name trial 0", "accuracy 19.3 %")
    short, first, second = capsys.readouterr().err.splitlines()
    assert short == "1 of 24 runs done  cell/strategy trial 0  accuracy 19.3 %"
    assert first.endswith("trial 0") and second == "    accuracy 19.3 %"


def test_a_table_of_classes_that_is_too_wide_is_left_out(cli: Command, here: Path) -> None:
    ten = cli("partition", "--nodes", "4", "--out", "ten.png").out
    assert width(ten) <= 80 and " 9\n" in ten
    many = cli("partition", "--nodes", "4", "--dataset", "tests.ngpd_fl.cli.test_width:forty", "--out", "forty.png").out
    assert width(many) <= 80 and " 9\n" not in many


def forty() -> tuple[object, ...]:
    """Return a data set of 40 classes."""
    import torch

    labels = torch.arange(400) % 40
    return torch.randn(400, 3, generator=torch.Generator().manual_seed(0)), labels
