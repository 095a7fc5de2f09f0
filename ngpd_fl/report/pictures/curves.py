"""Curves of accuracy, or error, and of consensus distance over the rounds or costs of runs, in their colors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from ngpd_fl.records import Measure
from ngpd_fl.report.costs import ROUNDS, Cost
from ngpd_fl.report.line_styles import LineStyle, line_styles
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.pictures.style import FAINT, LIGHT, dress, new_figure
from ngpd_fl.report.setting import common_words
from ngpd_fl.report.table import ranked

_DASHES = (0, (4, 2))

_SYMBOLS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "triangle-down": "v",
}
"""matplotlib's names of the markers."""

_BANDS = 3
"""Most runs with bands for the range of the nodes; more bands hide each other."""

_FEW = 40
"""Most evaluations marked by dots; without dots a single evaluation would be invisible."""


def measure_figure(outcomes: Sequence[Outcome], cost: Cost, measure: Measure | None = None) -> Figure:
    """Draw a measure of runs, by default that of their task, which all have, against a cost.

    The mean over nodes has a band from the worst to the best one; the averaged model is dashed.
    """
    measure = measure or outcomes[0].measure
    figure, axes = _axes(outcomes, f"{measure.name} against {cost.head}", cost)
    with_bands = len(outcomes) <= _BANDS
    for outcome, style in _ranked(outcomes):
        color, symbol = style.color, _symbol(outcome, style)
        spent = [cost.of(metrics) or 0.0 for metrics in outcome.metrics]
        values = np.array([metrics.values(measure) for metrics in outcome.metrics])
        mean, worst, best, averaged = measure.factor * values.T
        if with_bands:
            axes.fill_between(spent, worst, best, color=color, alpha=0.14, linewidth=0)
        axes.plot(spent, averaged, color=color, linewidth=1.4, linestyle=_DASHES)
        axes.plot(spent, mean, color=color, linewidth=2, marker=symbol, markersize=3.5)
    splits = {outcome.config.evaluation.split for outcome in outcomes}
    axes.set_ylabel(f"{splits.pop()} {measure.label}" if len(splits) == 1 else measure.label)
    if measure.is_share:
        axes.set_ylim(0, 101)
    kinds: list[Line2D | Patch] = [Line2D([], [], color=FAINT, linewidth=2, label="mean over nodes")]
    if any(metrics.has_average for outcome in outcomes for metrics in outcome.metrics):
        kinds.append(Line2D([], [], color=FAINT, linewidth=1.4, linestyle=_DASHES, label="averaged model"))
    if with_bands:
        kinds.append(Patch(color=FAINT, alpha=0.25, linewidth=0, label="worst to best node"))
    _legend(axes, outcomes, kinds)
    return figure


def consensus_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the consensus distance, the root mean square over nodes of |w_i - mean w|, against rounds.

    The common start is left out: its distance is 0 but for rounding. The axis begins at the first distance.
    """
    figure, axes = _axes(outcomes, "distance to consensus", ROUNDS)
    every: list[float] = []
    first, end = math.inf, axes.get_xlim()[1]
    for outcome, style in _ranked(outcomes):
        known = [(m.round, m.consensus_distance) for m in outcome.metrics if m.round and m.consensus_distance]
        rounds, distances = [round for round, _ in known], [distance for _, distance in known]
        axes.plot(rounds, distances, color=style.color, linewidth=2, marker=_symbol(outcome, style), markersize=3.5)
        every += distances
        first = min([first, *rounds])
    if first < end / 1.02:  # later evaluations follow
        axes.set_xlim(first - 0.02 * (end - first), end)
    if every and max(every) > 20 * min(every):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.08 * max(every, default=1))
        axes.yaxis.set_major_formatter("{x:.3g}")  # no power of ten above the axes, in place of the title
    axes.set_ylabel(r"RMS over nodes of $|w_i - \bar{w}|$")
    _legend(axes, outcomes, ())
    return figure


def _axes(outcomes: Sequence[Outcome], title: str, cost: Cost) -> tuple[Figure, Axes]:
    """Return a figure with empty axes for all evaluations of the runs."""
    figure = new_figure(7.2 if len(outcomes) == 1 else 8.6, 4.6)  # with room for the names of the runs
    axes = figure.add_subplot()
    title = f"{title[0].upper()}{title[1:]}" if len(outcomes) > 1 else f"{outcomes[0].config.method}: {title}"
    dress(axes, title, common_words(outcome.config for outcome in outcomes))
    axes.set_xlabel(cost.label)
    axes.grid(color=LIGHT)
    end = max(cost.of(metrics) or 0.0 for outcome in outcomes for metrics in outcome.metrics) or 1
    axes.set_xlim(-0.02 * end, 1.02 * end)
    if cost is ROUNDS:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if cost.unit:
        axes.xaxis.set_major_formatter(EngFormatter(unit=cost.unit))
    return figure, axes


def _ranked(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, LineStyle]]:
    """Return the runs with their line styles, the best first."""
    by_name = line_styles({outcome.name: outcome.config.method for outcome in outcomes})
    return [(outcome, by_name[outcome.name]) for outcome in ranked(outcomes)]


def _symbol(outcome: Outcome, style: LineStyle) -> str:
    return _SYMBOLS[style.symbol] if len(outcome.metrics) <= _FEW else ""


def _legend(axes: Axes, outcomes: Sequence[Outcome], kinds: Sequence[Line2D | Patch]) -> None:
    """Add legends: the runs' colors beside the axes, the kinds of line below them."""
    if len(outcomes) > 1:
        runs = [
            Line2D([], [], color=style.color, linewidth=3, marker=_symbol(outcome, style), label=_name(outcome))
            for outcome, style in _ranked(outcomes)
        ]
        axes.figure.legend(handles=runs, loc="outside right upper", frameon=False, fontsize=10.5)
    if kinds:
        axes.figure.legend(handles=kinds, loc="outside lower left", ncols=len(kinds), frameon=False, fontsize=9.5)


def _name(outcome: Outcome) -> str:
    return outcome.name if outcome.status == "finished" else f"{outcome.name}\n({outcome.status})"
