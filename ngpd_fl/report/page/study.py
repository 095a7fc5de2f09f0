"""What a study's own tables add to its runs: cells, labels, and which runs are reported."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ngpd_fl.config import InputError, conforming, one_line, parse_json, read_record, read_text, read_toml
from ngpd_fl.report.page.collection import Run
from ngpd_fl.report.page.groups import Cell, Group, gathered, make_cells, ranked

_FILE, _RUNS, _RESULTS, _PROVENANCE = "study.toml", "runs.csv", "results.csv", "provenance.json"

_COLUMNS = ("cell", "strategy", "role", "phase", "run")
"""What is read of the table of runs; ``run`` is the name of the folder."""

_FINAL, _BASELINES = "final", ("baseline", "reference")
"""The phase whose runs are reported, and the role of those that stand beside the others, also as 0.1 has it."""

Row = dict[str, str]


class _Object(BaseModel):
    """Any JSON object."""


class _Final(BaseModel):
    targets: list[float] = []


class _Plan(BaseModel):
    """What the page says of a study's file."""

    title: str = ""
    notes: str = ""
    final: _Final = _Final()


@dataclass(frozen=True, eq=False)
class Content:
    """All that a page is about.

    Attributes:
        cells: the sections.
        title: as a study's file has it; empty where there is none.
        notes: what is to be said of the whole.
        target: whose cost is told at first; none: one that suits each cell.
        provenance: where a study's figures come from.
    """

    cells: list[Cell]
    title: str = ""
    notes: list[str] = field(default_factory=list)
    target: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def arrange(runs: Sequence[Run]) -> Content:
    """Return runs by the cells of their study, or else by what they were set to do.

    Raises:
        InputError: a study's table is damaged.
    """
    contents = []
    for name, members in gathered(runs, lambda run: str(_study_of(run) or "")).items():
        contents.append((name and _of_study(Path(name), members)) or Content(make_cells(members)))
    if len(contents) == 1:
        return contents[0]
    return Content(
        [cell for content in contents for cell in content.cells], notes=[n for c in contents for n in c.notes]
    )


def _study_of(run: Run) -> Path | None:
    """Return the folder of the study that a run belongs to, if any."""
    folder = run.path.parent.parent
    return folder if (folder / _FILE).is_file() and (folder / _RUNS).is_file() else None


def _of_study(folder: Path, runs: Sequence[Run]) -> Content | None:
    """Return a study's final runs by its cells; None where there is none yet."""
    rows = _table(folder / _RUNS, _COLUMNS)
    final = [row for row in rows if row["phase"] == _FINAL]
    by_name = {run.path.name: run for run in runs}
    texts = _texts(folder / _RESULTS)
    cells = []
    for cell, in_cell in gathered((row for row in final if row["run"] in by_name), lambda row: row["cell"]).items():
        groups = []
        for label, of_group in gathered(in_cell, lambda row: row["strategy"]).items():
            members = sorted((by_name[row["run"]] for row in of_group), key=lambda run: run.config.seed)
            is_reference = of_group[0]["role"] in _BASELINES
            groups.append(Group(label, members, is_reference, texts.get((cell, label), {})))
        cells.append(Cell(cell, ranked(groups)))
    if not cells:
        return None
    plan = _plan(folder / _FILE)
    aside = len(by_name.keys() - {row["run"] for row in final})
    words = [
        f"{aside} further run{'s' * (aside > 1)} of the search for settings, or not over yet, are in {_RUNS} only."
    ]
    return Content(
        cells,
        title=plan.title,
        notes=[note for note in [plan.notes, *words * bool(aside)] if note],
        target=plan.final.targets[0] if plan.final.targets else None,
        provenance=_provenance(folder / _PROVENANCE),
    )


def _texts(path: Path) -> dict[tuple[str, str], Row]:
    """Return what a study's results say in words of a cell and a strategy: chosen values, and the paper's figure."""
    if not path.is_file():
        return {}
    found = {}
    for row in _table(path, ("cell", "strategy")):
        try:
            values = conforming(parse_json(row.get("values") or "{}"), _Object)
        except ValueError as error:
            raise InputError(f"{path}: damaged ({error})") from error
        chosen = ", ".join(f"{key.removeprefix('strategy.')} {_short(value)}" for key, value in values.items())
        words = {"chosen values": chosen, "paper": row.get("paper", "")}
        found[row["cell"], row["strategy"]] = {head: text for head, text in words.items() if text}
    return found


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Return a CSV file's rows; raise ``InputError`` where it cannot be read or lacks a column."""
    rows = csv.DictReader(io.StringIO(read_text(path, ""), newline=""))
    try:
        if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise InputError(f"{path}: damaged (no column {missing[0]})")
        return [{key: value or "" for key, value in row.items() if key is not None} for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _plan(path: Path) -> _Plan:
    try:
        return _Plan.model_validate(read_toml(path, "study file"))
    except ValidationError as error:
        raise InputError(f"study file {path}: {one_line(error, _Plan)}") from error


def _provenance(path: Path) -> dict[str, Any]:
    """Return a study's provenance but for the environments, which the runs have recorded themselves."""
    if not path.is_file():
        return {}
    return {key: value for key, value in read_record(path, _Object).items() if key != "environments"}
