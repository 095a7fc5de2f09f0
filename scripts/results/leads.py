"""The figure of all cells: how far NGPD is above or below the best other algorithm, which is tuned."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ngpd_fl.report.colors import method_color
from ngpd_fl.report.pictures.style import FAINT, LIGHT, drawing, dress, new_figure
from results.cells import UNTUNED
from results.tables import Studies, distinct


def figure(studies: Studies) -> Figure:
    """Return the figure: a dot for each cell in the better one's color, the largest lead first; bars are deviations."""
    cells = sorted(distinct(studies), key=lambda cell: cell.lead)
    with drawing():
        drawn = new_figure(9, 1.3 + 0.24 * len(cells))
        axes = drawn.subplots()
        for place, cell in enumerate(cells):
            color = method_color(cell.best.method)
            axes.errorbar(cell.lead, place, xerr=cell.ngpd.sd, color=color, marker="o", ms=5, lw=1.6, capsize=2.5)
            end = (max(cell.lead + (cell.ngpd.sd or 0), 0), place)
            label: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
            axes.annotate(cell.rival.label, end, color=FAINT, **label)
        axes.axvline(0, color=FAINT, lw=1)
        axes.set_yticks(range(len(cells)), [cell.title for cell in cells])
        axes.margins(x=0.1, y=0.03)
        axes.set_xlabel("points of test accuracy above the best other algorithm, whose name stands to the right")
        axes.grid(axis="x", color=LIGHT)
        dress(
            axes,
            f"{UNTUNED}, against the best tuned algorithm",
            "each cell of the studies, mean over seeds, in the color of the better of the two",
        )
    return drawn
