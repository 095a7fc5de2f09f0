"""Targets of runs, and the costs of reaching them."""

from __future__ import annotations

import math
from statistics import median

from ngpd_fl.records import Metrics
from ngpd_fl.report.costs import COSTS, Cost
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.page.groups import Cell, Group

SHARE_OF_BEST = 0.9
"""The target, as a share of the best final accuracy, where none is given."""


def known_costs(cell: Cell) -> list[Cost]:
    """Return the costs that all evaluations of the cell have."""
    evaluations = [metrics for run in cell.runs for metrics in run.outcome.metrics]
    return [cost for cost in COSTS if evaluations and all(cost.of(metrics) is not None for metrics in evaluations)]


def missing_costs(cell: Cell) -> list[str]:
    """Return the costs that are not known of all evaluations, each with its reason; none without an evaluation."""
    evaluations = [metrics for run in cell.runs for metrics in run.outcome.metrics]
    known = known_costs(cell)
    return [
        f"{cost.head}: "
        + ("not every" if any(cost.of(metrics) is not None for metrics in evaluations) else "no")
        + f" run here {cost.needs}"
        for cost in COSTS
        if evaluations and cost not in known
    ]


def first_at(outcome: Outcome, target: float) -> Metrics | None:
    """Return the first evaluation whose mean over nodes reaches ``target``; None if there is none."""
    wanted = outcome.measure.rank(target)
    return next((metrics for metrics in outcome.metrics if outcome.measure.rank(metrics.mean) >= wanted), None)


def cost_text(group: Group, cost: Cost, target: float) -> str:
    """Return the median cost over the runs that reach a target, with their number if some do not."""
    reached = [metrics for run in group.runs if (metrics := first_at(run.outcome, target))]
    spent = [value for metrics in reached if (value := cost.of(metrics)) is not None]
    if not spent:
        return "not reached"
    few = f" ({len(spent)} of {len(group.runs)})" if len(spent) < len(group.runs) else ""
    return cost.text(median(spent)) + few


def default_target(cell: Cell) -> tuple[float, str] | None:
    """Return the target of a cell, and why it is that one; None if no run has a result.

    It is the one that all runs have in common, else nine tenths of the best final mean, three digits of it: most
    algorithms pass it, the weak ones do not, and nobody has to know in advance what is possible.
    """
    wanted = {run.config.training.until_accuracy for run in cell.runs}
    if cell.measure.is_share and len(wanted) == 1 and (target := wanted.pop()) is not None:
        return target, "at which the runs ended"
    lasts = [run.outcome.last for run in cell.runs if run.outcome.status != "diverged"]
    finals = [last.mean for last in lasts if last is not None and math.isfinite(last.mean)]
    best = max(finals, key=cell.measure.rank, default=0.0)
    if best <= 0:
        return None
    if cell.measure.higher_is_better:
        return float(f"{SHARE_OF_BEST * best:.3g}"), f"{100 * SHARE_OF_BEST:.0f} % of the best at the end"
    return float(f"{best / SHARE_OF_BEST:.3g}"), f"{100 / SHARE_OF_BEST:.0f} % of the best at the end"
