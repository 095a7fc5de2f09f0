"""Results of a study: a row per run, and a row per cell and strategy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from ngpd_fl.records.rows import Row
from ngpd_fl.report import units
from ngpd_fl.report.units import spread
from ngpd_fl.study.cell import StudyCell
from ngpd_fl.study.plan import StudyPlan, StudyStrategy
from ngpd_fl.study.schedule import FINAL, TUNING, PlannedRun, Schedule
from ngpd_fl.sweep.tasks import DIVERGED, FAILED, FINISHED

COSTS = ("round", "bytes_sent", "virtual_seconds", "joules", "train_seconds")
"""Costs of reaching a target, by their names in evaluations."""

SKEWS = ("total_variation", "between_neighbors", "of_neighborhoods")
"""Measures of label skew; see ``data.skew``."""

_TOTALS = ("rounds", "bytes_sent", "node_steps", "train_seconds")


def figures(plan: StudyPlan) -> dict[str, str]:
    """Return the figures in the tables, the objective among them: names in the records -> column heads."""
    key, worst = plan.measure.key, plan.measure.worst
    heads = {f"mean_{key}": "mean", f"{worst}_{key}": "worst node", f"averaged_model_{key}": "averaged"}
    return {plan.objective: plan.objective.removesuffix(f"_{key}").replace("_", " "), **heads}


def run_row(plan: StudyPlan, run: PlannedRun, seconds: float | None) -> Row:
    """Return a run's row: its place in the study, status, values, final figures, and costs of reaching the targets.

    Args:
        plan: the study's plan.
        run: a run that is over.
        seconds: its duration.
    """
    record = run.record
    assert record is not None
    row: Row = {"cell": run.cell.name, **run.cell.values, "strategy": run.strategy.label, "role": run.strategy.role}
    row |= {"phase": run.phase, "trial": run.number if run.phase == TUNING else None}
    row |= {"seed": run.number if run.phase == FINAL else plan.tuning.seed}
    row |= {"status": record.status, "note": record.note or None, **(run.values or {})}
    row |= {**(record.summary.get("final") or {}), **{name: record.summary.get(name) for name in _TOTALS}}
    row |= {name: (record.summary.get("skew") or {}).get(name) for name in SKEWS}
    if record.metrics:
        row |= {name: getattr(record.metrics[-1], name) for name in ("virtual_seconds", "joules")}
    for target in plan.final.targets:
        reached = record.reached(target)
        row |= {cost_name(cost, target): getattr(reached, cost, None) for cost in COSTS}
    return row | {"seconds": seconds, "run": run.key or None}


def cost_name(cost: str, target: float) -> str:
    """Return the name of the column of a target's cost, e.g. ``rounds_to_0.9``."""
    return f"{'rounds' if cost == 'round' else cost}_to_{target:g}"


def target_text(plan: StudyPlan, value: float) -> str:
    """Return an accuracy or an error with all the digits that it was given with."""
    return units.short_percent(value) if plan.measure.higher_is_better else f"{value:g}"


def results(schedule: Schedule, runs: Sequence[PlannedRun]) -> list[Row]:
    """Return a row per cell and strategy; in each cell peers come first, the best on top, then baselines.

    Means and sample standard deviations are over the seeds that have finished; the others are counted. ``best`` marks
    the first of a cell's peers, ``near`` those whose mean is within one standard deviation of the best.
    """
    plan = schedule.plan
    table: list[Row] = []
    for cell in plan.cells:
        rows = [
            _row(schedule, cell, strategy, [run for run in runs if run.cell is cell and run.strategy is strategy])
            for strategy in plan.strategies
            if strategy.runs_in(cell)
        ]
        rows.sort(key=lambda row: _rank(plan, row), reverse=True)
        peers = [row for row in rows if row["role"] == "peer"]
        _mark(plan, peers)
        table += peers + [row for row in rows if row["role"] != "peer"]
    return table


def _row(schedule: Schedule, cell: StudyCell, strategy: StudyStrategy, runs: Sequence[PlannedRun]) -> Row:
    plan = schedule.plan
    trials = schedule.trials(cell, strategy)
    tried = [run for run in trials if run.record is not None]
    reports = [run for run in runs if run.phase == FINAL]
    over = [run.record for run in reports if run.record is not None]
    finished = [record for record in over if record.status == FINISHED]
    row: Row = {"cell": cell.name, **cell.values, "strategy": strategy.label, "role": strategy.role}
    row |= {"seeds": len(plan.final.seeds), "finished": len(finished)}
    row |= {status: sum(record.status == status for record in over) for status in (DIVERGED, FAILED)}
    row |= {"trials": len(trials), "tried": len(tried), "hopeless": (cell.name, strategy.label) in schedule.hopeless}
    for name in figures(plan):
        values = [value for record in finished if (value := record.figure(name)) is not None]
        if len(values) < len(finished):  # no mean if one is not finite, or was never evaluated
            values = []
        row[f"{name}_mean"], row[f"{name}_sd"] = spread(values)
    for name in SKEWS:
        known = [value for record in over if (value := (record.summary.get("skew") or {}).get(name)) is not None]
        row[name] = fmean(known) if known else None
    for target in plan.final.targets:
        reached = [first for record in over if (first := record.reached(target)) is not None]
        row[f"reached_{target:g}"] = len(reached)
        for cost in COSTS:
            known = [value for first in reached if (value := getattr(first, cost)) is not None]
            row[cost_name(cost, target)] = median(known) if known else None
    values_chosen = next((run.values for run in reports if run.values is not None), None)
    row["values"] = json.dumps(values_chosen) if values_chosen else None
    texts = [
        target_text(plan, paper.value) + (f" ({paper.what})" if paper.what else "")
        for paper in plan.paper
        if paper.strategy == strategy.label and cell.matches(paper.cell.split("/"))
    ]
    row["paper"] = "; ".join(texts) or None
    return row | {"best": False, "near": False}


def _rank(plan: StudyPlan, row: Row) -> tuple[bool, bool, float]:
    """Return a row's sort key: rows with an unfinished run come after those without, rows without a value last."""
    value = row[_ranked_by(plan)]
    return (
        value is not None,
        not (row[DIVERGED] or row[FAILED]),
        plan.measure.rank(float("nan") if value is None else value),
    )


def _ranked_by(plan: StudyPlan) -> str:
    return f"{plan.objective}_mean"


def _mark(plan: StudyPlan, peers: Sequence[Row]) -> None:
    """Mark the best of a cell's peers, given by rank, and those near it, once all their runs are over."""
    complete = all(row["hopeless"] or row["finished"] + row[DIVERGED] + row[FAILED] == row["seeds"] for row in peers)
    if (
        not peers
        or not complete
        or peers[0][DIVERGED]
        or peers[0][FAILED]
        or (best := peers[0][_ranked_by(plan)]) is None
    ):
        return
    peers[0]["best"] = True
    sd: Any = peers[0][f"{plan.objective}_sd"]
    for row in peers[1:]:
        value = row[_ranked_by(plan)]
        row["near"] = (
            value is not None and sd is not None and not (row[DIVERGED] or row[FAILED]) and abs(value - best) <= sd
        )
