"""The command line in this process, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ngpd_fl.cli import main


class Said(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are called in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call ``ngpd-fl`` with these words."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(words)
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def quick(cli: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same without drawing pictures, which is what takes time in a short run."""
    monkeypatch.setattr("ngpd_fl.report.pictures.write_plots", lambda folder, trust_code: [])
    return cli
