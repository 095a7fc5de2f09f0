"""Curves of a study: a row per evaluation of each cell and strategy, over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ngpd_fl.records import Metrics
from ngpd_fl.records.rows import Row
from ngpd_fl.report.units import spread
from ngpd_fl.study.plan import StudyPlan
from ngpd_fl.study.results import COSTS, figures
from ngpd_fl.study.schedule import FINAL, PlannedRun
from ngpd_fl.sweep.tasks import FINISHED


def curves(plan: StudyPlan, runs: Sequence[PlannedRun]) -> list[Row]:
    """Return a row per cell, strategy and evaluated round: means and standard deviations, and median costs.

    They are over the final runs that have finished, and that evaluated in this round.
    """
    by_round: dict[tuple[str, str, str], dict[int, list[Metrics]]] = {}
    for run in runs:
        if run.phase == FINAL and run.record is not None and run.record.status == FINISHED:
            rounds = by_round.setdefault((run.cell.name, run.strategy.label, run.strategy.role), {})
            for metrics in run.record.metrics:
                rounds.setdefault(metrics.round, []).append(metrics)
    return [
        {"cell": cell, "strategy": strategy, "role": role, "round": round, "seeds": len(evaluations)}
        | _point(plan, evaluations)
        for (cell, strategy, role), rounds in by_round.items()
        for round, evaluations in sorted(rounds.items())
    ]


def _point(plan: StudyPlan, evaluations: Sequence[Metrics]) -> Row:
    row: Row = {}
    for name in figures(plan):
        row[f"{name}_mean"], row[f"{name}_sd"] = spread(getattr(metrics, name) for metrics in evaluations)
    for cost in COSTS[1:]:
        known = [value for metrics in evaluations if (value := getattr(metrics, cost)) is not None]
        row[cost] = median(known) if known else None
    return row
