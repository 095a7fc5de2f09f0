"""New folders for records: names that are free, and nothing left behind where nothing was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ngpd_fl.config import InputError
from ngpd_fl.records.folder import require_empty

RUNS = Path("runs")
"""The parent of folders that no name is given for."""


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[Path]:
    """Make a folder for records, and in the end remove again what stayed empty.

    Args:
        out: the folder; it must be empty or not there. None: the first free one of ``runs/NAME-1``, ``-2``, ...
        name: see ``out``.

    Raises:
        InputError: the folder holds something, or cannot be made.
    """
    made: list[Path] = []
    try:
        try:
            if out is None:
                _make(RUNS, made)
                out = _first_free(plain(name), made)
            else:
                _make(out, made)
                require_empty(out)
        except OSError as error:
            raise InputError(f"out: {out or RUNS} cannot be made ({error.strerror})") from error
        yield out
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def plain(name: str) -> str:
    """Return the name with a hyphen for the colon of an import path, which not every file system takes."""
    return name.replace(":", "-")


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those that it lies in, and note which were made, the outermost first."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir()
            made.append(path)


def _first_free(name: str, made: list[Path]) -> Path:
    """Make ``runs/NAME-1`` or the next that is free; of commands started at once each gets its own."""
    for number in count(1):
        folder = RUNS / f"{name}-{number}"
        with suppress(FileExistsError):
            folder.mkdir()
            made.append(folder)
            return folder
    raise AssertionError("numbers do not end")
