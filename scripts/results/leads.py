"""The figure of all cells: how far NGPD is above or below the best other algorithm, which is tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ngpd_fl.report.colors import method_color
from ngpd_fl.report.pictures.style import FAINT, LIGHT, drawing, dress, new_figure
from results.cells import TRACKING, UNTUNED
from results.tables import Studies, distinct

_TICKS = [-10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30]
"""Marked points of the axis: even up to one point of accuracy, logarithmic beyond."""


def figure(studies: Studies) -> Figure:
    """Return the figure: a dot for each cell in the better one's color, the largest lead first; bars are deviations.

    A ring is NGPD with tracking, where it was run.
    """
    cells = sorted(distinct(studies), key=lambda cell: cell.lead)
    with drawing():
        drawn = new_figure(9, 1.3 + 0.24 * len(cells))
        axes = drawn.subplots()
        for place, cell in enumerate(cells):
            color = method_color(cell.best.method)
            axes.errorbar(cell.lead, place, xerr=cell.ngpd.sd, color=color, marker="o", ms=5, lw=1.6, capsize=2.5)
            ends = [0.0, cell.lead + (cell.ngpd.sd or 0)]
            if cell.result(TRACKING):
                ends.append(replace(cell, ours=TRACKING).lead)
                axes.plot(ends[-1], place, color=method_color("ngpd-tracking"), marker="o", ms=7, mfc="none", mew=1.4)
            end = (max(ends), place)
            label: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
            axes.annotate(cell.rival.label, end, color=FAINT, **label)
        axes.axvline(0, color=FAINT, lw=1)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.minorticks_off()
        axes.set_yticks(range(len(cells)), [cell.title for cell in cells])
        axes.margins(x=0.1, y=0.03)
        ring = Line2D([], [], color=method_color("ngpd-tracking"), marker="o", ms=7, mfc="none", mew=1.4, lw=0)
        axes.legend([ring], [TRACKING], loc="center right", bbox_to_anchor=(1, 0.3), frameon=False, fontsize=8.5)
        axes.set_xlabel("points of test accuracy above the best other algorithm, whose name stands to the right")
        axes.grid(axis="x", color=LIGHT)
        dress(
            axes,
            f"{UNTUNED}, against the best tuned algorithm",
            "mean over seeds in each cell, in the color of the better; logarithmic beyond one point",
        )
    return drawn
