"""``ngpd-fl show``: from the records alone, whole or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.records import RunFolder
from ngpd_fl.records.files import lock

SHORT = ("--rounds", "2", "--nodes", "4", "--local-steps", "2")


@pytest.fixture
def folder(quick: Callable[..., Any], here: Path) -> Path:
    assert quick("run", "--strategy", "dsgd", *SHORT, "--out", "out", "--quiet").code == 0
    return here / "out"


def test_a_run_is_shown_as_it_was(quick: Callable[..., Any]) -> None:
    told = quick("run", "--strategy", "dsgd", *SHORT, "--out", "out")
    assert quick("show", "out") == (0, told.out, "")


def test_a_comparison_is_shown_as_it_was(quick: Callable[..., Any]) -> None:
    told = quick("compare", "--strategies", "dsgd,ecl", *SHORT, "--out", "out")
    assert quick("show", "out") == (0, told.out, "")


def test_runs_of_different_settings_are_not_said_to_share_one(quick: Callable[..., Any]) -> None:
    for seed in ("0", "1"):
        assert quick("run", "--strategy", "dsgd", *SHORT, "--seed", seed, "--quiet").code == 0
    assert "runs with different settings" in quick("show", "runs").out


def test_a_run_that_was_killed(quick: Callable[..., Any], folder: Path) -> None:
    (folder / "summary.json").unlink()
    (folder / "models.safetensors").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0] + lines[1] + lines[2][:40])
    said = quick("show", "out")
    assert (said.code, said.err) == (0, "")
    assert "unfinished after round 1 of 2" in said.out
    way_on = "`ngpd-fl resume out` begins it again (it has no checkpoint)"
    assert " ".join(said.out.split()).endswith(f"records in out; {way_on}")
    assert " ".join(quick("show", ".").out.split()).endswith(f"records in .; {way_on}")
    refused = quick("run", "--out", "out")
    assert refused.code == 2 and f"{way_on}, or name another folder" in refused.err
    checkpoints = RunFolder(folder).checkpoints
    checkpoints.write(1, {}, {})
    assert quick("show", "out").out.endswith("records in out; `ngpd-fl resume out` goes on\n")
    checkpoints.forget_after(0)
    with lock(folder / "config.toml"):
        assert quick("show", "out").out.endswith("records in out; it is still going\n")
        assert "it is still going, or name another folder" in quick("run", "--out", "out").err
    assert quick("resume", "out").code == 0
    assert quick("show", "out").out.endswith("records in out\n")
    assert "nothing recorded is overwritten, name another" in quick("run", "--out", "out").err
    assert quick("show", ".").code == 0  # among others


def test_a_run_that_was_killed_before_its_first_evaluation(cli: Callable[..., Any], folder: Path) -> None:
    for name in ("summary.json", "models.safetensors", "metrics.jsonl"):
        (folder / name).unlink()
    assert "unfinished after round 0 of 2" in cli("show", "out").out
    assert cli("show", ".").code == 0


def test_pictures_are_drawn_again(cli: Callable[..., Any], here: Path) -> None:
    assert cli("run", "--strategy", "dsgd", *SHORT, "--out", "out", "--quiet").code == 0
    pictures = {path: path.read_bytes() for path in (here / "out" / "plots").iterdir()}
    for path in pictures:
        path.unlink()
    assert cli("show", "out").code == 0
    assert not any(path.exists() for path in pictures)  # it only reads
    assert cli("show", "out", "--plots").code == 0
    assert {path: path.read_bytes() for path in (here / "out" / "plots").iterdir()} == pictures


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("metrics.jsonl", '{"round": 0}\n', "metrics.jsonl: line 1 is damaged"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl: line 1 is damaged"),
        ("metrics.jsonl", "\x00\x00\n", "metrics.jsonl: line 1 is damaged"),
        ("summary.json", "{", "summary.json: damaged ("),
        ("summary.json", "[]", "summary.json: damaged (not a JSON object)"),
        ("summary.json", "{}", "summary.json: damaged (status: this key is required)"),
        ("config.toml", "rounds =", "config.toml: not valid TOML"),
        ("config.toml", "rounds = 1", "rounds: unknown key"),
    ],
)
def test_damaged_records(quick: Callable[..., Any], folder: Path, name: str, content: str, error: str) -> None:
    (folder / name).write_text(content)
    for words in (("show", "out"), ("show", ".")):
        said = quick(*words)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert error in said.err


def test_what_is_no_folder_of_a_run(cli: Callable[..., Any], folder: Path) -> None:
    assert cli("show", "out/config.toml").code == 2
    assert cli("show", "out/plots").code == 2


def test_no_bytes_are_changed(quick: Callable[..., Any], folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    quick("show", "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert json.loads(before["summary.json"])["status"] == "finished"
