"""Words of a stranger's records reach no terminal as control sequences."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ngpd_fl.cli.console import print_step, warn
from tests.ngpd_fl.cli.conftest import Command
from tests.support.studies import TEXT

SEQUENCES = "\x1b[2J\x1b]0;title\x07\r\x08"
RUN = ("run", "--strategy", "dsgd", "--rounds", "1", "--nodes", "3", "--local-steps", "1", "--quiet", "--out", "runs/a")


def is_plain(text: str) -> bool:
    return text.replace("\n", "").isprintable()


@pytest.mark.parametrize("place", ["Digits: 100 % of_the & {small}", "Table II"])
def test_of_a_study(place: str, quick: Command, here: Path) -> None:
    escaped = SEQUENCES.encode("unicode_escape").decode().replace("\\x", "\\u00")
    (here / "study.toml").write_text(TEXT.replace(place, escaped))
    said = quick("show", ".")
    assert (said.code, said.err) == (0, "") and is_plain(said.out)
    assert "\\x1b[2J" in said.out.replace("\n", "") or place == "Table II"  # which a column may break


def test_of_a_comparison(quick: Command, here: Path) -> None:
    assert quick(*RUN).code == 0
    shutil.copytree("runs/a", f"runs/b{SEQUENCES}")
    said = quick("show", "runs")
    assert (said.code, said.err) == (0, "") and is_plain(said.out)
    said = quick("show", f"runs/b{SEQUENCES}", "--follow")
    assert said.code == 0 and is_plain(said.out)


def test_of_steps_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    print_step("1 of 2", SEQUENCES)
    warn(f"other versions: {SEQUENCES}")
    assert is_plain(said := capsys.readouterr().err) and said.count("\\x1b") == 4


def test_letters_that_no_font_has_are_no_warning(cli: Command, here: Path) -> None:
    assert cli(*RUN).code == 0
    shutil.copytree("runs/a", "runs/\U0001f9ea\u5b9f\u9a13")
    said = cli("show", "runs", "--plots")
    assert (said.code, said.err) == (0, "") and (here / "runs/plots/accuracy_rounds.png").exists()
