"""Curves of a group: mean and standard deviation over its runs at each evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from ngpd_fl.records import METRICS, RMSE, Measure, Metrics
from ngpd_fl.report.costs import Cost
from ngpd_fl.report.page.groups import Group
from ngpd_fl.report.units import spread

QUANTITIES = {"mean": "mean of the nodes", "worst": "worst node", "averaged_model": "averaged model"}
"""Quantities of the measure in an evaluation, with their names."""

LOSS = RMSE._replace(key="train_loss", name="training loss", label="training loss", form="#.3g")
DISTANCE = RMSE._replace(
    key="consensus_distance", name="consensus distance", label="RMS distance to the mean of the nodes", form="#.3g"
)

_POINTS = 200
"""Most evaluations of a run in a curve; more could not be seen."""

_DIGITS, _COST_DIGITS = 5, 7

Values = list[float | None]

Item = TypeVar("Item")


class Quantity(NamedTuple):
    """Quantity of an evaluation.

    Attributes:
        key: its name in the page's data.
        words: its name for readers.
        measure: its direction and notation.
    """

    key: str
    words: str
    measure: Measure


END_QUANTITIES = tuple(Quantity(measure.key, measure.name, measure) for measure in (LOSS, DISTANCE))
"""Further quantities, which every evaluation has and by which nothing is ranked."""


class Curve(NamedTuple):
    """Mean and standard deviation of a quantity.

    Attributes:
        mean: the mean at each evaluation.
        sd: the standard deviation at each evaluation; empty for a single run.
    """

    mean: Values
    sd: Values


def quantities_of(measure: Measure) -> list[Quantity]:
    """Return the quantities of the evaluations by a measure, those of the measure itself first."""
    own = [Quantity(key, words, measure) for key, words in QUANTITIES.items()]
    others = [Quantity(other.key, other.name, other) for other in METRICS[measure].others]
    return [*own, *others, *END_QUANTITIES]


def curves(group: Group, costs: Sequence[Cost]) -> dict[str, Any]:
    """Return a group's curves: the costs until each evaluation, and those of ``quantities_of`` that are known.

    Evaluations of the runs are combined by round, with the mean of their costs. Diverged runs are drawn only if all
    have diverged.
    """
    by_round: dict[int, list[Metrics]] = {}
    for run in group.counted or group.runs:
        for metrics in run.outcome.metrics:
            by_round.setdefault(metrics.round, []).append(metrics)
    rounds = [by_round[round] for round in thinned(sorted(by_round))]
    spent = {
        cost.key: [short(spread(map(cost.of, metrics)).mean, _COST_DIGITS) for metrics in rounds] for cost in costs
    }
    lines = {quantity.key: _curve(quantity.key, rounds) for quantity in quantities_of(group.measure)}
    known = {quantity: line for quantity, line in lines.items() if any(value is not None for value in line.mean)}
    return {"spent": spent, "lines": {quantity: line._asdict() for quantity, line in known.items()}}


def run_curve(run_metrics: Sequence[Metrics], costs: Sequence[Cost]) -> dict[str, Any]:
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
    spreads = [spread(value_of(metrics, quantity) for metrics in evaluations) for evaluations in rounds]
    has_band = any(value.sd is not None for value in spreads)
    return Curve([short(value.mean) for value in spreads], [short(value.sd) for value in spreads] if has_band else [])


def value_of(metrics: Metrics, quantity: str) -> float | None:
    """Return a quantity of an evaluation; None if it was not evaluated, nan or None if it is not finite."""
    if quantity in ("averaged_model", DISTANCE.key) and not metrics.has_average:
        return None
    is_field = quantity in (*QUANTITIES, LOSS.key, DISTANCE.key)
    value = getattr(metrics, quantity if is_field else f"mean_{quantity}", None)
    return None if value is None else float(value)
