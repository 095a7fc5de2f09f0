"""``trackers.json``: which run of a tracker, such as Weights & Biases, is this run, and how far it was sent there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ngpd_fl.config.text_files import read_record
from ngpd_fl.records.files import write_text
from ngpd_fl.records.shapes import Shape

TRACKERS_FILE = "trackers.json"


class TrackedRun(Shape):
    """A run of a tracker.

    Attributes:
        project: of the tracker, in which the run is shown.
        run: what the tracker knows the run by.
        round: the last one whose evaluation was sent; -1 before the first.
    """

    project: str
    run: Annotated[str, Field(pattern="^[^/]*[^/.][^/]*$")]  # some trackers name files by it
    round: Annotated[int, Field(ge=-1, lt=2**63)]


class TrackedRuns(Shape):
    """The content of the file: runs by the names of their trackers."""

    runs: dict[str, TrackedRun]


def tracked_runs(folder: Path) -> dict[str, TrackedRun]:
    """Return what a run's folder notes of trackers, none if it has none; raise ``InputError`` if it is damaged."""
    path = folder / TRACKERS_FILE
    return TrackedRuns(**read_record(path, TrackedRuns)).runs if path.exists() else {}


def note_tracked_run(folder: Path, name: str, run: TrackedRun) -> None:
    """Note the run of a tracker in a run's folder, in place of an earlier note."""
    runs = {**tracked_runs(folder), name: run}
    content = {"runs": {name: run.model_dump() for name, run in runs.items()}}
    write_text(folder / TRACKERS_FILE, json.dumps(content, indent=2) + "\n")
