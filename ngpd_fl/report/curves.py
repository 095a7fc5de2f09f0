"""Accuracy, or the error, and agreement over the course of runs: one line per run, in one color each."""

from __future__ import annotations

import ngpd_fl.report.backend  # isort: skip # noqa: F401 # before matplotlib

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from ngpd_fl.records import ACCURACY, Metrics
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.setting import common_words
from ngpd_fl.report.style import FAINT, LIGHT, PALETTE, dress, new_figure


class Cost(NamedTuple):
    """What accuracy, or the error, is drawn against.

    Attributes:
        words: in the title, e.g. ``rounds``.
        label: of the axis, with the unit if ``unit`` is none.
        of: an evaluation -> what was spent until then, in that unit.
        unit: what the ticks have, with a prefix as the run needs, such as B to TB.
    """

    words: str
    label: str
    of: Callable[[Metrics], float]
    unit: str | None = None


ROUNDS = Cost("rounds", "rounds", lambda metrics: metrics.round)
BYTES = Cost("bytes sent", "sent by all nodes", lambda metrics: metrics.bytes_sent, "B")
SECONDS = Cost("training time", "training time (s)", lambda metrics: metrics.train_seconds)
VIRTUAL = Cost("virtual time", "virtual time (s)", lambda metrics: metrics.virtual_seconds or 0.0)
ENERGY = Cost("energy", "taken by all nodes", lambda metrics: metrics.joules or 0.0, "J")

_DASHES = (0, (4, 2))

_BANDS = 3
"""Up to this many runs the nodes' range is drawn; more bands than that hide each other."""

_FEW = 40
"""Up to this many evaluations each is marked by a dot; a single one would be invisible without."""


def measure_figure(outcomes: Sequence[Outcome], cost: Cost) -> Figure:
    """Draw what was measured against ``cost``: mean over nodes, worst to best as a band, averaged model dashed.

    The runs have one measure in common.
    """
    measure = outcomes[0].measure
    figure, axes = _axes(outcomes, f"{measure.name} against {cost.words}", cost)
    with_bands = len(outcomes) <= _BANDS
    for outcome, color in zip(outcomes, _colors(outcomes), strict=True):
        spent = [cost.of(metrics) for metrics in outcome.metrics]
        worst = [measure.factor * metrics.worst for metrics in outcome.metrics]
        best = [measure.factor * metrics.best for metrics in outcome.metrics]
        if with_bands:
            axes.fill_between(spent, worst, best, color=color, alpha=0.14, linewidth=0)
        averaged = [measure.factor * metrics.averaged_model for metrics in outcome.metrics]
        axes.plot(spent, averaged, color=color, linewidth=1.4, linestyle=_DASHES)
        mean = [measure.factor * metrics.mean for metrics in outcome.metrics]
        axes.plot(spent, mean, color=color, linewidth=2, marker=_marker(outcome), markersize=3.5)
    splits = {outcome.config.evaluation.split for outcome in outcomes}
    axes.set_ylabel(f"{splits.pop()} {measure.label}" if len(splits) == 1 else measure.label)
    if measure is ACCURACY:
        axes.set_ylim(0, 101)
    kinds: list[Line2D | Patch] = [Line2D([], [], color=FAINT, linewidth=2, label="mean over nodes")]
    if any(metrics.has_average for outcome in outcomes for metrics in outcome.metrics):
        kinds.append(Line2D([], [], color=FAINT, linewidth=1.4, linestyle=_DASHES, label="averaged model"))
    if with_bands:
        kinds.append(Patch(color=FAINT, alpha=0.25, linewidth=0, label="worst to best node"))
    _legend(axes, outcomes, kinds)
    return figure


def consensus_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Draw how far the nodes are apart, root mean square over nodes of |w_i - mean w|, against rounds.

    The common start is left out: there the distance is 0, or what rounding makes of it.
    """
    figure, axes = _axes(outcomes, "distance to consensus", ROUNDS)
    every: list[float] = []
    for outcome, color in zip(outcomes, _colors(outcomes), strict=True):
        known = [(m.round, m.consensus_distance) for m in outcome.metrics if m.round and m.consensus_distance]
        rounds, distances = [each for each, _ in known], [each for _, each in known]
        axes.plot(rounds, distances, color=color, linewidth=2, marker=_marker(outcome), markersize=3.5)
        every += distances
    if every and max(every) > 20 * min(every):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.08 * max(every, default=1))
        axes.yaxis.set_major_formatter("{x:.3g}")  # no power of ten set apart, where the title is
    axes.set_ylabel(r"RMS over nodes of $|w_i - \bar{w}|$")
    _legend(axes, outcomes, ())
    return figure


def _percent(share: float | None) -> float:
    """Return a share in percent; what is not known leaves a gap in a curve."""
    return math.nan if share is None else 100 * share


def _axes(outcomes: Sequence[Outcome], title: str, cost: Cost) -> tuple[Figure, Axes]:
    """Return a figure with empty axes that a run's whole course fits into."""
    figure = new_figure(7.2 if len(outcomes) == 1 else 8.6, 4.6)  # with room for the names of the runs
    axes = figure.add_subplot()
    title = f"{title[0].upper()}{title[1:]}" if len(outcomes) > 1 else f"{outcomes[0].config.method}: {title}"
    dress(axes, title, common_words(outcome.config for outcome in outcomes))
    axes.set_xlabel(cost.label)
    axes.grid(color=LIGHT)
    end = max(cost.of(metrics) for outcome in outcomes for metrics in outcome.metrics) or 1
    axes.set_xlim(-0.02 * end, 1.02 * end)
    if cost is ROUNDS:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if cost.unit is not None:
        axes.xaxis.set_major_formatter(EngFormatter(unit=cost.unit))
    return figure, axes


def _colors(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a color for each run by its name: not by its rank, which may change from picture to picture."""
    names = sorted(outcome.name for outcome in outcomes)
    return [PALETTE[names.index(outcome.name) % len(PALETTE)] for outcome in outcomes]


def _marker(outcome: Outcome) -> str:
    return "o" if len(outcome.metrics) <= _FEW else ""


def _legend(axes: Axes, outcomes: Sequence[Outcome], kinds: Sequence[Line2D | Patch]) -> None:
    """Name the runs' colors beside the axes and the kinds of stroke below them, where no line is."""
    if len(outcomes) > 1:
        runs = [
            Line2D([], [], color=color, linewidth=3, label=_name(outcome))
            for outcome, color in zip(outcomes, _colors(outcomes), strict=True)
        ]
        axes.figure.legend(handles=runs, loc="outside right upper", frameon=False, fontsize=10.5)
    if kinds:
        axes.figure.legend(handles=kinds, loc="outside lower left", ncols=len(kinds), frameon=False, fontsize=9.5)


def _name(outcome: Outcome) -> str:
    return outcome.name if outcome.status == "finished" else f"{outcome.name}\n({outcome.status})"
