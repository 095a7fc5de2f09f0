"""Costs of runs, and of reaching a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from ngpd_fl.records import Measure, Metrics
from ngpd_fl.report import units
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.page.groups import Cell, Group


class Cost(NamedTuple):
    """A kind of cost.

    Attributes:
        key: its name in the page's data.
        head: head of its column.
        label: label of its axis.
        unit: unit of its ticks, after a prefix such as k or M; empty for a plain number.
        of: returns the cost until an evaluation; None if not known.
        text: formats an amount.
        missing: the reason why runs may not have it.
    """

    key: str
    head: str
    label: str
    unit: str
    of: Callable[[Metrics], float | None]
    text: Callable[[float], str]
    missing: str


COSTS = (
    Cost("rounds", "rounds", "rounds", "", lambda metrics: metrics.round, lambda n: f"{n:.10g}", ""),
    Cost("bytes", "sent", "sent by all nodes", "B", lambda metrics: metrics.bytes_sent, units.size, ""),
    Cost(
        key="virtual",
        head="virtual time",
        label="virtual time (s)",
        unit="",
        of=lambda metrics: metrics.virtual_seconds,
        text=units.seconds,
        missing="not all runs here have a virtual clock",
    ),
    Cost(
        key="joules",
        head="energy",
        label="energy of all nodes",
        unit="J",
        of=lambda metrics: metrics.joules,
        text=units.energy,
        missing="not all runs here know the energy of all their devices",
    ),
)


def known_costs(cell: Cell) -> list[Cost]:
    """Return the costs that all evaluations of the cell have."""
    evaluations = [metrics for run in cell.runs for metrics in run.outcome.metrics]
    return [cost for cost in COSTS if evaluations and all(cost.of(metrics) is not None for metrics in evaluations)]


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


def common_target(cell: Cell) -> float | None:
    """Return the target that all runs of a cell have in common, else a value that all have reached.

    The latter is rounded to a whole percent, or to two digits of an error. Diverged runs do not count.
    """
    wanted = {run.config.training.until_accuracy for run in cell.runs}
    if cell.measure.is_share and len(wanted) == 1 and (target := wanted.pop()) is not None:
        return target
    outcomes = [run.outcome for run in cell.runs if run.outcome.status != "diverged"]
    bests = [best.mean for outcome in outcomes if (best := outcome.best) and math.isfinite(best.mean)]
    return _rounded(cell.measure, bests) if bests else None


def _rounded(measure: Measure, bests: Sequence[float]) -> float:
    """Return the worst of the values, rounded toward worse."""
    worst = min(bests, key=measure.rank)
    if measure.is_share:
        return math.floor(100 * worst) / 100
    step = 10.0 ** (math.floor(math.log10(worst)) - 1) if worst > 0 else 1.0
    return float(f"{math.ceil(worst / step) * step:.10g}")
