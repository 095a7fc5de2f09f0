"""Curves of the studies: a picture of accuracy by round, and when NGPD has what the best other algorithm ends with."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gallery.markdown import table
from ngpd_fl.report.colors import method_color
from ngpd_fl.report.pictures.style import LIGHT, drawing, dress, new_figure
from ngpd_fl.report.units import size
from results.cells import Cell, Point
from results.tables import Studies, distinct

_COLUMNS = 2
_RIVALS = 4
"""Number of other algorithms in a panel."""


def figure(studies: Studies) -> Figure:
    """Return a panel for the first cell of each study that has evaluations between the start and the end.

    The start, at which all are alike, is left out.
    """
    firsts = [next((cell for cell in cells if len(cell.ngpd.curve) > 2), None) for cells in studies.values()]
    shown = [cell for cell in firsts if cell is not None and cell.has_rival]
    with drawing():
        rows = math.ceil(len(shown) / _COLUMNS)
        drawn = new_figure(5.2 * _COLUMNS, 3.6 * rows)
        panels = list(drawn.subplots(rows, _COLUMNS, squeeze=False).flat)
        for axes, cell in zip(panels, shown, strict=False):
            _draw(axes, cell)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
    return drawn


def _draw(axes: Axes, cell: Cell) -> None:
    rivals = [result for result in cell.compared if result is not cell.ngpd and result.curve][:_RIVALS]
    for result in sorted([cell.ngpd, *rivals], key=lambda result: result.rank, reverse=True):
        rounds, means, deviations = zip(
            *((point.round, point.mean, point.sd) for point in result.curve if point.round), strict=True
        )
        is_ours = result is cell.ngpd
        color, width = method_color(result.method), 2.4 if is_ours else 1.4
        axes.errorbar(rounds, means, deviations, color=color, lw=width, elinewidth=0.8, label=result.label,
                      zorder=3 if is_ours else 2)  # fmt: skip
    axes.set_xlabel("round")
    axes.set_ylabel("test accuracy, %")
    axes.grid(axis="y", color=LIGHT)
    axes.legend(loc="lower right", fontsize=8.5, frameon=False)
    dress(axes, cell.study, "" if cell.name == "all" else cell.name)


def pace(studies: Studies) -> str:
    """Return a table: at which evaluation NGPD first has the final accuracy of the best other, and the costs."""
    body = []
    for cell in distinct(studies):
        if len(cell.ngpd.curve) > 2 and cell.rival.curve:
            goal = cell.rival.curve[-1]
            reached = next((point for point in cell.ngpd.curve if point.mean >= goal.mean), None)
            body.append([cell.title, f"{cell.rival.label}, {goal.mean:.1f} %", *_costs(reached, goal)])
    if not body:
        return "No results yet."
    head = ["cell", "best other algorithm, at its end", "NGPD has that by round", "bytes", "seconds", "joules"]
    return table(head, body, numbers=True)


def _costs(reached: Point | None, goal: Point) -> list[str]:
    """Return NGPD's round, bytes, seconds and joules, each followed by those of the other algorithm's whole run."""
    if reached is None:
        return [f"never of {goal.round}", "", "", ""]
    share = 100 * reached.round / goal.round
    return [
        f"{reached.round} of {goal.round} ({share:.0f} %)",
        f"{size(reached.bytes_sent)} of {size(goal.bytes_sent)}",
        f"{reached.seconds:.0f} of {goal.seconds:.0f}",
        "" if reached.joules is None or goal.joules is None else f"{reached.joules:.0f} of {goal.joules:.0f}",
    ]
