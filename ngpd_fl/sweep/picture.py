"""Picture of a sweep: the objective against each key."""

from __future__ import annotations

import ngpd_fl.report.pictures  # isort: skip # noqa: F401 # before matplotlib

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ngpd_fl.records.rows import Row
from ngpd_fl.report.colors import PALETTE
from ngpd_fl.report.pictures.style import INK, LIGHT, drawing, dress, new_figure, save
from ngpd_fl.sweep.plan import SweepPlan
from ngpd_fl.sweep.space import Range
from ngpd_fl.sweep.table import ranked

_COLUMNS = 3
"""Panels side by side."""

_WIDE = 20.0
"""Ratio of the largest to the smallest value of a list from which the axis is logarithmic."""


@drawing()
def write_picture(plan: SweepPlan, folder: Path, rows: Sequence[Row]) -> Path | None:
    """Draw ``plots/sweep.png`` and return its path; None if no trial finished.

    Every finished trial is a dot. A line joins the best trials for the values of a list (a bar marks them if the values
    are words), and a ring marks the best trial of all.
    """
    rows = [row for row in ranked(plan, rows) if row["status"] == "finished"]
    if not rows:
        return None
    across = min(len(plan.space), _COLUMNS)
    down = math.ceil(len(plan.space) / across)
    figure = new_figure(max(7.2, 4.0 * across), 3.6 * down + 0.4)
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axes, key in zip(panels, plan.space, strict=False):
        _draw(axes, plan, key, rows)
    for axes in panels[len(plan.space) :]:
        axes.set_visible(False)
    split = plan.base["evaluation"]["split"] if isinstance(plan.base.get("evaluation"), dict) else ""
    name = plan.objective.removesuffix(f"_{plan.measure.key}").replace("_", " ")
    for axes in figure.axes[::across]:
        axes.set_ylabel(" ".join(f"{name} {split} {plan.measure.label}".split()))
    best = f"best: {plan.measure.text(rows[0][plan.objective])} in {rows[0]['trial']}"
    dress(figure.axes[0], "Trials against each key", f"{len(rows)} finished, {best}")
    return save(figure, folder / "plots" / "sweep.png")


def _draw(axes: Axes, plan: SweepPlan, key: str, rows: Sequence[Row]) -> None:
    """Draw the trials, given best first, against one key."""
    dimension = plan.space[key]
    heights = [plan.measure.factor * row[plan.objective] for row in rows]
    places: list[float]
    joined = True
    if isinstance(dimension, Range) or _is_scale(dimension.values):
        places = [float(row[key]) for row in rows]
        spread = dimension.values if not isinstance(dimension, Range) else ()
        if dimension.log if isinstance(dimension, Range) else min(spread) > 0 and max(spread) >= _WIDE * min(spread):
            axes.set_xscale("log")
            axes.tick_params(which="minor", color=LIGHT)
        elif isinstance(dimension, Range) and dimension.whole:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        elif spread:
            axes.set_xticks(sorted(spread))
    else:  # words: one place each, with nothing in between
        joined = False
        words = list(dict.fromkeys(str(value) for value in dimension.labels))
        places = [words.index(str(row[key])) for row in rows]
        axes.set_xticks(range(len(words)), words)
        axes.set_xlim(-0.5, len(words) - 0.5)
    axes.plot(places, heights, "o", color=INK, alpha=0.45, markersize=5, markeredgewidth=0)
    if not isinstance(dimension, Range):
        best: dict[float, float] = {}
        for place, height in zip(places, heights, strict=True):
            best.setdefault(place, height)
        style = {"linewidth": 1.6} if joined else {"linestyle": "", "marker": "_", "markersize": 24}
        axes.plot(*zip(*sorted(best.items()), strict=True), color=INK, **style)
    axes.plot(places[:1], heights[:1], "o", markersize=11, markerfacecolor="none", markeredgecolor=PALETTE[1])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(axis="y", color=LIGHT, linewidth=0.8)
    axes.set_xlabel(key)
    dress(axes, "")


def _is_scale(values: Sequence[object]) -> bool:
    """Return whether all values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
