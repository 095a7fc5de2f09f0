"""``ngpd-fl new``: everything in a new project runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ngpd_fl.cli.new import FILES
from ngpd_fl.records import RunFolder
from tests.ngpd_fl.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def project(cli: Command, here: Path) -> Path:
    said = cli("new", "mine")
    assert (said.code, said.err) == (0, "") and all(name in said.out for name in FILES)
    assert {path.name for path in (here / "mine").iterdir()} == set(FILES)
    return here / "mine"


def test_its_files_are_valid(project: Path, quick: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    short = ("--rounds", "1", "--nodes", "2", "--local-steps", "1", "--quiet")
    assert quick("run", "--config", "config.toml", *short) == (0, "", "")
    said = quick("study", "study.toml", "--out", "study", "--list")
    assert said.code == 0 and "0 of 8 runs done" in said.out


def call(folder: Path, *words: str) -> str:
    """Run Python's ``-m WORDS`` in a folder, in a process of its own, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_its_run(project: Path) -> None:
    call(project, "ngpd_fl", "run", "--config", "config.toml", "--out", "out")
    folder = RunFolder.open(project / "out")
    assert folder.summary()["status"] == "finished" and folder.metrics()[-1].mean > 0.9


@pytest.mark.slow
def test_its_tests(project: Path) -> None:
    assert "2 passed" in call(project, "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_its_study(project: Path) -> None:
    assert "8 of 8 runs done" in call(project, "ngpd_fl", "study", "study.toml", "--out", "study")


def test_what_is_there_is_left_alone(cli: Command, here: Path) -> None:
    (here / "mine").mkdir()
    (here / "file").write_text("mine")
    for name, error in (
        ("mine", "NAME: mine is there already; nothing is overwritten, name another folder"),
        ("file", "NAME: file is there already; nothing is overwritten, name another folder"),
        ("a/b", "NAME: there is no folder a; make it first, or name another folder"),
        ("file/b", "NAME: file is not a folder; make it first, or name another folder"),
    ):
        assert cli("new", name) == (2, "", f"ngpd-fl: error: {error}\n")
    assert sorted(path.name for path in here.rglob("*")) == ["file", "mine"]
