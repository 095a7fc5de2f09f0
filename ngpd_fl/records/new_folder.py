"""New folders for records, under free names. Folders without records are removed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ngpd_fl.config import InputError
from ngpd_fl.records.folder import require_empty

RUNS = Path("runs")
"""Parent of the folders without a given name."""


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[Path]:
    """Make a folder for records, and in the end remove the new folders that stayed empty.

    Args:
        out: the folder; it must be empty or not exist. None means the first free one of ``runs/NAME-1``, ``-2``, ...
        name: the name to use if ``out`` is None.

    Raises:
        InputError: the folder is not empty, or cannot be made.
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
            raise InputError(f"out: {out or RUNS / plain(name)} cannot be made ({error.strerror})") from error
        yield out
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def plain(name: str) -> str:
    """Return the name with hyphens instead of the colons of import paths, which not every file system accepts."""
    return name.replace(":", "-")


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and its missing parents, and add the new ones to ``made``, the outermost first."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir()
            made.append(path)


def _first_free(name: str, made: list[Path]) -> Path:
    """Make ``runs/NAME-1`` or the next free one. Commands that run at the same time get different folders."""
    for number in count(1):
        folder = RUNS / f"{name}-{number}"
        with suppress(FileExistsError):
            folder.mkdir()
            made.append(folder)
            return folder
    raise AssertionError("numbers do not end")
