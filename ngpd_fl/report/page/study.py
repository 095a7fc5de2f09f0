"""Content of the page from a study's tables: its cells, labels and reported runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ngpd_fl.config import InputError, conforming, one_line, parse_json, read_record, read_text, read_toml
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.groups import Cell, Group, gathered, make_cells, ranked
from ngpd_fl.report.page.settings import brief

_FILE, _RUNS, _RESULTS, _PROVENANCE = "study.toml", "runs.csv", "results.csv", "provenance.json"

_COLUMNS = ("cell", "strategy", "role", "phase", "run")
"""Columns read from the table of runs; ``run`` is the name of the folder."""

_FINAL, _BASELINES = "final", ("baseline", "reference")
"""The phase of the reported runs, and the role of baselines, also by its name in version 0.1."""

Row = dict[str, str]


class _Object(BaseModel):
    """Any JSON object."""


class _FinalSection(BaseModel):
    targets: list[float] = []


class _StudyFile(BaseModel):
    """Parts of a study's file that the page shows."""

    title: str = ""
    notes: str = ""
    final: _FinalSection = _FinalSection()


@dataclass(frozen=True, eq=False)
class PageContent:
    """Content of a page.

    Attributes:
        cells: its cells, one per section.
        title: the title of the study; empty without one.
        notes: notes for readers.
        target: target whose cost is shown at first; None for one that suits each cell.
        provenance: the study's provenance.
    """

    cells: list[Cell]
    title: str = ""
    notes: list[str] = field(default_factory=list)
    target: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def page_content(runs: Sequence[RecordedRun]) -> PageContent:
    """Return the page's content: runs by the cells of their study, other runs by their task.

    Raises:
        InputError: a study's table is damaged.
    """
    contents: dict[str, PageContent] = {}
    for name, members in gathered(runs, lambda run: str(_study_of(run) or "")).items():
        contents[name] = (name and _of_study(Path(name), members)) or PageContent(make_cells(members))
    return next(iter(contents.values())) if len(contents) == 1 else _combined(contents)


def _combined(contents: Mapping[str, PageContent]) -> PageContent:
    """Return the content of several studies, by their folders: each cell, note and figure with its study's name."""
    titles = Counter(content.title for content in contents.values())
    names = {
        folder: content.title if content.title and titles[content.title] == 1 else Path(folder).name
        for folder, content in contents.items()
    }
    named = [(f"{names[folder]}: " if folder else "", content) for folder, content in contents.items()]
    return PageContent(
        [replace(cell, title=f"{name}{cell.title}") for name, content in named for cell in content.cells],
        title=" and ".join(filter(None, names.values())),
        notes=[f"{name}{note}" for name, content in named for note in content.notes],
        provenance={f"{name}{key}": value for name, content in named for key, value in content.provenance.items()},
    )


def _study_of(run: RecordedRun) -> Path | None:
    """Return the folder of a run's study; None if it belongs to none."""
    folder = run.path.parent.parent
    return folder if (folder / _FILE).is_file() and (folder / _RUNS).is_file() else None


def _of_study(folder: Path, runs: Sequence[RecordedRun]) -> PageContent | None:
    """Return the final runs of a study by cell; None if there are none yet."""
    rows = _table(folder / _RUNS, _COLUMNS)
    final = [row for row in rows if row["phase"] == _FINAL]
    by_name = {run.path.name: run for run in runs}
    texts = _texts(folder / _RESULTS)
    cells = []
    for cell, in_cell in gathered((row for row in final if row["run"] in by_name), lambda row: row["cell"]).items():
        groups = []
        for label, of_group in gathered(in_cell, lambda row: row["strategy"]).items():
            members = sorted((by_name[row["run"]] for row in of_group), key=lambda run: run.config.seed)
            is_baseline = of_group[0]["role"] in _BASELINES
            groups.append(Group(label, members, is_baseline, texts.get((cell, label), {})))
        cells.append(Cell(cell, ranked(groups)))
    if not cells:
        return None
    plan = _plan(folder / _FILE)
    other_runs = len(by_name.keys() - {row["run"] for row in final})
    words = [f"{_RUNS} lists {other_runs} more run{'s' * (other_runs > 1)}, which are trials or not over yet."]
    return PageContent(
        cells,
        title=plan.title,
        notes=[note for note in [plan.notes, *words * bool(other_runs)] if note],
        target=plan.final.targets[0] if plan.final.targets else None,
        provenance=_provenance(folder / _PROVENANCE),
    )


def _texts(path: Path) -> dict[tuple[str, str], Row]:
    """Return chosen values and published figures, by cell and strategy, from a study's results."""
    if not path.is_file():
        return {}
    texts = {}
    for row in _table(path, ("cell", "strategy")):
        try:
            values = conforming(parse_json(row.get("values") or "{}"), _Object)
        except ValueError as error:
            raise InputError(f"{path}: damaged ({error})") from error
        chosen = ", ".join(f"{key.removeprefix('strategy.')} {brief(value)}" for key, value in values.items())
        columns = {"chosen values": chosen, "paper": row.get("paper", "")}
        texts[row["cell"], row["strategy"]] = {head: text for head, text in columns.items() if text}
    return texts


def _table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV file; raise ``InputError`` if it cannot be read or lacks a column."""
    rows = csv.DictReader(io.StringIO(read_text(path, ""), newline=""))
    try:
        if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise InputError(f"{path}: damaged (no column {missing[0]})")
        return [{key: value or "" for key, value in row.items() if key is not None} for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _plan(path: Path) -> _StudyFile:
    try:
        return _StudyFile.model_validate(read_toml(path, "study file"))
    except ValidationError as error:
        raise InputError(f"study file {path}: {one_line(error, _StudyFile)}") from error


def _provenance(path: Path) -> dict[str, Any]:
    """Return a study's provenance without the environments, which are in the runs' records."""
    if not path.is_file():
        return {}
    return {key: value for key, value in read_record(path, _Object).items() if key != "environments"}
