"""Curves of a group: mean and standard deviation over its runs at each evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from ngpd_fl.records import Metrics
from ngpd_fl.report.page.costs import Cost
from ngpd_fl.report.page.groups import Group
from ngpd_fl.report.units import spread

QUANTITIES = {"mean": "mean of the nodes", "worst": "worst node", "averaged_model": "averaged model"}
"""Quantities of an evaluation with their names."""

_POINTS = 200
"""Most evaluations of a run in a curve; more could not be seen."""

_DIGITS, _COST_DIGITS = 5, 7

Values = list[float | None]

Item = TypeVar("Item")


class Curve(NamedTuple):
    """Mean and standard deviation of a quantity.

    Attributes:
        mean: the mean at each evaluation.
        sd: the standard deviation at each evaluation; empty for a single run.
    """

    mean: Values
    sd: Values


def curves(group: Group, costs: Sequence[Cost]) -> dict[str, Any]:
    """Return a group's curves: the costs until each evaluation, and the known quantities.

    These are ``QUANTITIES`` of the measure, and the mean of each further measure by its key. Evaluations of the runs
    are combined by round, with the mean of their costs. Diverged runs are drawn only if all have diverged.
    """
    by_round: dict[int, list[Metrics]] = {}
    for run in group.counted or group.runs:
        for metrics in run.outcome.metrics:
            by_round.setdefault(metrics.round, []).append(metrics)
    rounds = [by_round[round] for round in thinned(sorted(by_round))]
    spent = {
        cost.key: [short(spread(map(cost.of, metrics)).mean, _COST_DIGITS) for metrics in rounds] for cost in costs
    }
    others = {measure.key for evaluations in rounds for metrics in evaluations for measure in metrics.others}
    lines = {quantity: _curve(quantity, rounds) for quantity in (*QUANTITIES, *sorted(others))}
    known = {quantity: line for quantity, line in lines.items() if any(value is not None for value in line.mean)}
    return {"spent": spent, "lines": {quantity: line._asdict() for quantity, line in known.items()}}


def course(run_metrics: Sequence[Metrics], costs: Sequence[Cost]) -> dict[str, Any]:
    """Return one run's mean over nodes and costs, from which the page computes the costs of a target."""
    shown = thinned(run_metrics)
    spent = {cost.key: [short(cost.of(metrics), _COST_DIGITS) for metrics in shown] for cost in costs}
    return {"spent": spent, "mean": [short(metrics.mean, _COST_DIGITS) for metrics in shown]}


def thinned(items: Sequence[Item], points: int = _POINTS) -> list[Item]:
    """Return at most ``points`` items, evenly spaced, including the first and the last."""
    if len(items) <= points:
        return list(items)
    return [items[round(place * (len(items) - 1) / (points - 1))] for place in range(points)]


def short(value: float | None, digits: int = _DIGITS) -> float | None:
    """Return a number rounded to ``digits`` digits, as an integer if whole; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _curve(quantity: str, rounds: Sequence[Sequence[Metrics]]) -> Curve:
    spreads = [spread(_value(metrics, quantity) for metrics in evaluations) for evaluations in rounds]
    has_band = any(value.sd is not None for value in spreads)
    return Curve([short(value.mean) for value in spreads], [short(value.sd) for value in spreads] if has_band else [])


def _value(metrics: Metrics, quantity: str) -> float | None:
    if quantity == "averaged_model" and not metrics.has_average:
        return None
    value = getattr(metrics, quantity if quantity in QUANTITIES else f"mean_{quantity}", None)
    return None if value is None else float(value)
