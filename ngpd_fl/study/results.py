"""What a study has found: a row per run, and a row per cell and strategy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Any

from ngpd_fl.records.rows import Row
from ngpd_fl.report import units
from ngpd_fl.study.plan import Cell, Plan, Strategy
from ngpd_fl.study.schedule import FINAL, TUNING, Schedule, Slot
from ngpd_fl.sweep.workers import DIVERGED, FAILED, FINISHED

COSTS = ("round", "bytes_sent", "virtual_seconds", "joules", "train_seconds")
"""What it takes to reach a target, as evaluations have it."""

SKEWS = ("total_variation", "between_neighbors", "of_neighborhoods")
"""How the nodes' labels differ, and how that lies on the graph; see ``data.skew``."""

_TOTALS = ("rounds", "bytes_sent", "node_steps", "train_seconds")


def figures(plan: Plan) -> dict[str, str]:
    """Return the figures of the tables: their names in the records -> in words. The objective is among them."""
    key, worst = plan.measure.key, plan.measure.worst
    words = {f"mean_{key}": "mean", f"{worst}_{key}": "worst node", f"averaged_model_{key}": "averaged"}
    return {plan.objective: plan.objective.removesuffix(f"_{key}").replace("_", " "), **words}


def run_row(plan: Plan, slot: Slot, seconds: float | None) -> Row:
    """Return a run's row: where it belongs, how it ended, its values, every final figure, what it and a target cost.

    Args:
        plan: whose targets are asked for.
        slot: of a run that is over.
        seconds: that it took.
    """
    record = slot.record
    assert record is not None
    row: Row = {"cell": slot.cell.name, **slot.cell.values, "strategy": slot.strategy.label, "role": slot.strategy.role}
    row |= {"phase": slot.phase, "trial": slot.number if slot.phase == TUNING else None}
    row |= {"seed": slot.number if slot.phase == FINAL else plan.tuning.seed}
    row |= {"status": record.status, "note": record.note or None, **(slot.values or {})}
    row |= {**(record.summary.get("final") or {}), **{name: record.summary.get(name) for name in _TOTALS}}
    row |= {name: (record.summary.get("skew") or {}).get(name) for name in SKEWS}
    if record.metrics:
        row |= {name: getattr(record.metrics[-1], name) for name in ("virtual_seconds", "joules")}
    for target in plan.final.targets:
        reached = record.reached(target)
        row |= {cost_name(cost, target): getattr(reached, cost, None) for cost in COSTS}
    return row | {"seconds": seconds, "run": slot.key or None}


def cost_name(cost: str, target: float) -> str:
    """Return the column of what a target costs, e.g. ``rounds_to_0.9``."""
    return f"{'rounds' if cost == 'round' else cost}_to_{target:g}"


def target_words(plan: Plan, value: float) -> str:
    """Return an accuracy or an error that someone gave, with all the digits that it has."""
    return units.short_percent(value) if plan.measure.higher_is_better else f"{value:g}"


def results(schedule: Schedule, slots: Sequence[Slot]) -> list[Row]:
    """Return a row per cell and strategy; in each cell peers come first, the best on top, then baselines.

    Means and standard deviations (of a sample) are over the seeds that have finished. What has not is counted beside.
    ``best`` is the first of a cell's peers, and ``near`` says of the others that their mean is within one standard
    deviation of its.
    """
    plan = schedule.plan
    found: list[Row] = []
    for cell in plan.cells:
        rows = [
            _row(schedule, cell, strategy, [s for s in slots if s.cell is cell and s.strategy is strategy])
            for strategy in plan.strategies
            if strategy.runs_in(cell)
        ]
        rows.sort(key=lambda row: _rank(plan, row), reverse=True)
        peers = [row for row in rows if row["role"] == "peer"]
        _mark(plan, peers)
        found += peers + [row for row in rows if row["role"] != "peer"]
    return found


def _row(schedule: Schedule, cell: Cell, strategy: Strategy, slots: Sequence[Slot]) -> Row:
    plan = schedule.plan
    trials = schedule.trials(cell, strategy)
    tried = [slot for slot in trials if slot.record is not None]
    reports = [slot for slot in slots if slot.phase == FINAL]
    over = [slot.record for slot in reports if slot.record is not None]
    finished = [record for record in over if record.status == FINISHED]
    row: Row = {"cell": cell.name, **cell.values, "strategy": strategy.label, "role": strategy.role}
    row |= {"seeds": len(plan.final.seeds), "finished": len(finished)}
    row |= {status: sum(record.status == status for record in over) for status in (DIVERGED, FAILED)}
    row |= {"trials": len(trials), "tried": len(tried), "hopeless": (cell.name, strategy.label) in schedule.hopeless}
    for name in figures(plan):
        values = [value for record in finished if (value := record.figure(name)) is not None]
        if len(values) < len(finished):  # one is not finite, or was never evaluated: there is no mean
            values = []
        row[f"{name}_mean"] = fmean(values) if values else None
        row[f"{name}_sd"] = stdev(values) if len(values) > 1 else None
    for name in SKEWS:
        known = [value for record in over if (value := (record.summary.get("skew") or {}).get(name)) is not None]
        row[name] = fmean(known) if known else None
    for target in plan.final.targets:
        reached = [each for record in over if (each := record.reached(target)) is not None]
        row[f"reached_{target:g}"] = len(reached)
        for cost in COSTS:
            known = [value for each in reached if (value := getattr(each, cost)) is not None]
            row[cost_name(cost, target)] = median(known) if known else None
    values_chosen = next((slot.values for slot in reports if slot.values is not None), None)
    row["values"] = json.dumps(values_chosen) if values_chosen else None
    paper = [each for each in plan.paper if each.strategy == strategy.label and cell.matches(each.cell.split("/"))]
    texts = [target_words(plan, each.value) + (f" ({each.what})" if each.what else "") for each in paper]
    row["paper"] = "; ".join(texts) or None
    return row | {"best": False, "near": False}


def _rank(plan: Plan, row: Row) -> tuple[bool, bool, float]:
    """Return where a row stands: those with a run that did not finish after those without, those without any last."""
    value = row[_judged_by(plan)]
    return (
        value is not None,
        not (row[DIVERGED] or row[FAILED]),
        plan.measure.rank(float("nan") if value is None else value),
    )


def _judged_by(plan: Plan) -> str:
    return f"{plan.objective}_mean"


def _mark(plan: Plan, peers: Sequence[Row]) -> None:
    """Mark the best of a cell's peers, in the order of rank, and those near it, once none of their runs is missing."""
    whole = all(row["hopeless"] or row["finished"] + row[DIVERGED] + row[FAILED] == row["seeds"] for row in peers)
    if not peers or not whole or peers[0][DIVERGED] or peers[0][FAILED] or (best := peers[0][_judged_by(plan)]) is None:
        return
    peers[0]["best"] = True
    spread: Any = peers[0][f"{plan.objective}_sd"]
    for row in peers[1:]:
        value = row[_judged_by(plan)]
        row["near"] = (
            value is not None
            and spread is not None
            and not (row[DIVERGED] or row[FAILED])
            and abs(value - best) <= spread
        )
