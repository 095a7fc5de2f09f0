"""Table of a sweep: a row per trial, as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ngpd_fl.config import InputError, translated
from ngpd_fl.records import RunFolder
from ngpd_fl.records.rows import Row, read_rows
from ngpd_fl.sweep.plan import SweepPlan
from ngpd_fl.sweep.tasks import RunEnd
from ngpd_fl.sweep.trials import Trial

TABLE = "trials"
"""Name of the files, without suffix."""

_COSTS = ("rounds", "node_steps", "bytes_sent", "train_seconds")


def make_row(plan: SweepPlan, folder: Path, trial: Trial) -> Row:
    """Return a trial's row: its name, status, values, final figures and costs, without those not reached."""
    end = trial.end or RunEnd("running")
    row: Row = {"trial": trial.name, "status": end.status, "note": end.note or None} | plan.values(trial.params)
    if (folder / trial.name / "summary.json").exists():
        summary = RunFolder(folder / trial.name).summary()
        row |= {**(summary.get("final") or {}), **{name: summary.get(name) for name in _COSTS}}
    return row


def read_trials(plan: SweepPlan, folder: Path) -> list[Row]:
    """Return the recorded rows; raise ``InputError`` if there are none yet, or the file is damaged."""
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


def ranked(plan: SweepPlan, rows: Sequence[Row]) -> list[Row]:
    """Return the rows by objective, the best first, unfinished ones last."""

    def rank(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row.get(plan.objective)
        return row["status"] == "finished", plan.measure.rank(float("nan") if value is None else value)

    return sorted(rows, key=rank, reverse=True)
