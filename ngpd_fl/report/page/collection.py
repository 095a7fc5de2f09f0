"""Recorded runs in folders and their sub-folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.records import RunFolder
from ngpd_fl.report.outcome import Outcome, read_run


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A run's records and their folder.

    Attributes:
        path: the folder, below the path that the user has given.
        outcome: its outcome.
        environment: the content of ``environment.json``.
    """

    path: Path
    outcome: Outcome
    environment: dict[str, Any]

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.outcome.config

    @property
    def folder(self) -> RunFolder:
        """The run's folder, for records that are read on demand."""
        return RunFolder(self.path)


def read_runs(paths: Sequence[Path]) -> list[RecordedRun]:
    """Return the runs in folders and below, each once, in the order of their paths.

    Raises:
        InputError: a folder does not exist, cannot be read or holds no run, or a record is damaged.
    """
    runs: dict[Path, RecordedRun] = {}
    for path in paths:
        folders = list(_run_folders(path))
        for folder in folders:
            run = RecordedRun(folder, read_run(folder), RunFolder(folder).environment())
            runs.setdefault(folder.resolve(), run)
        if not folders:
            raise InputError(f"{path}: no run in it (a folder with config.toml and environment.json)")
    return list(runs.values())


def _run_folders(path: Path) -> Iterator[Path]:
    """Yield the folders of runs, without descending into them."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for folder, inner, _ in os.walk(path, onerror=refuse):
        if RunFolder.holds_run(Path(folder)):
            inner.clear()
            yield Path(folder)
        inner.sort()
