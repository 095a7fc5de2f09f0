"""Costs of runs, and of reaching a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from ngpd_fl.records import Metrics
from ngpd_fl.report import units
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.page.groups import Cell, Group

SHARE_OF_BEST = 0.9
"""The target, as a share of the best final accuracy, where none is given."""


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
        key="seconds",
        head="training time",
        label="training time (s)",
        unit="",
        of=lambda metrics: metrics.train_seconds,
        text=units.seconds,
        missing="",
    ),
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
