"""A sweep's table: a row per trial, as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ngpd_fl.config import InputError, translated
from ngpd_fl.records import RunFolder
from ngpd_fl.records.rows import Row, read_rows
from ngpd_fl.sweep.plan import Plan
from ngpd_fl.sweep.trials import Trial
from ngpd_fl.sweep.workers import End

TABLE = "trials"
"""The files' name, without its end."""

_COSTS = ("rounds", "node_steps", "bytes_sent", "train_seconds")


def make_row(plan: Plan, folder: Path, trial: Trial) -> Row:
    """Return a trial's row: its name and end, its values, every final figure, what it cost.

    What it did not come to is missing.
    """
    end = trial.end or End("running")
    row: Row = {"trial": trial.name, "status": end.status, "note": end.note or None} | plan.values(trial.params)
    if (folder / trial.name / "summary.json").exists():
        summary = RunFolder(folder / trial.name).summary()
        row |= {**(summary.get("final") or {}), **{name: summary.get(name) for name in _COSTS}}
    return row


def read_trials(plan: Plan, folder: Path) -> list[Row]:
    """Return the rows that were written; raise ``InputError`` where there are none yet, or the file is damaged."""
    path = folder / f"{TABLE}.parquet"
    if not path.exists():
        raise InputError(f"{folder}: no trial of the sweep has ended yet (no {path.name})")
    rows = [translated(row) for row in read_rows(path)]
    for row in rows:
        if missing := {"trial", "status", *plan.space} - row.keys():
            raise InputError(f"{path}: damaged (no column {min(missing)})")
        if not isinstance(row.get(plan.objective), float | int | None):
            raise InputError(f"{path}: damaged ({plan.objective} is not a number)")
    return rows


def ranked(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """Return the rows by the objective, the best first, those that did not finish last."""

    def rank(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row.get(plan.objective)
        return row["status"] == "finished", plan.measure.rank(float("nan") if value is None else value)

    return sorted(rows, key=rank, reverse=True)
