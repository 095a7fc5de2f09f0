"""The README's figure: NGPD beside the other algorithms.

Left: test accuracy where each node has 2 of 10 classes. Right: what is left of it when messages are lost. Both show
means over seeds; error bars are standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngpd_fl.report.colors import method_color
from ngpd_fl.report.pictures.style import LIGHT, drawing, dress, new_figure
from results.cells import UNTUNED, Cell
from results.tables import Studies

_APART, _RAISED = 5.0, 3.0
"""Least distance of two names beside the lines, and how far a name may be above its line, in percent of accuracy."""

_BESIDE: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
"""Place of a label: to the right of its point."""


def figure(studies: Studies) -> Figure:
    """Return the figure."""
    with drawing():
        drawn = new_figure(11, 4.4)
        left, right = drawn.subplots(1, 2, width_ratios=(1.1, 1))
        _draw_skew(left, studies["label-skew"][0])
        _draw_loss(right, studies["message-loss"])
    return drawn


def _draw_skew(axes: Axes, cell: Cell) -> None:
    results = cell.compared[::-1]
    for place, result in enumerate(results):
        mean = math.nan if result.mean is None else result.mean
        color, size = method_color(result.method), 7 if result is cell.ngpd else 5
        axes.errorbar(mean, place, xerr=result.sd, color=color, marker="o", ms=size, lw=1.6, capsize=2.5)
        axes.annotate(f"{mean:.1f}", (mean + (result.sd or 0), place), fontsize=9, color=color, **_BESIDE)
    axes.set_yticks(range(len(results)), [_name(result.label) for result in results])
    lowest = min((result.mean or 0) - (result.sd or 0) for result in results)
    axes.set_xlim(5 * math.floor(lowest / 5), 100)
    axes.set_xlabel("test accuracy of the nodes' models, %")
    axes.grid(axis="x", color=LIGHT)
    dress(axes, "Label skew", "MNIST, ring of 8 nodes with 2 of 10 classes each, 120 rounds of 8 local steps")


def _draw_loss(axes: Axes, cells: Sequence[Cell]) -> None:
    lines = {result.label: [cell.result(result.label) for cell in cells] for result in cells[0].compared}
    ends = {}
    for label, results in lines.items():
        known = [result for result in results if result]
        means, deviations = zip(*((result.mean, result.sd) for result in known), strict=True)
        is_ours = label == UNTUNED
        style: dict[str, Any] = {"lw": 2.4 if is_ours else 1.4, "zorder": 3 if is_ours else 2, "marker": "o", "ms": 4}
        axes.errorbar(range(len(cells)), means, deviations, color=method_color(known[0].method), capsize=2, **style)
        ends[label] = (means[-1], method_color(known[0].method))
    height = math.inf
    for label, (mean, color) in sorted(ends.items(), key=lambda end: -end[1][0]):
        height = min(mean + _RAISED, height - _APART)
        axes.annotate(_name(label), (len(cells) - 1, height), color=color, fontsize=9.5, **_BESIDE)
    axes.set_xticks(range(len(cells)), [cell.name for cell in cells])
    axes.set_xlim(-0.15, len(cells) + 0.2)
    axes.set_ylim(0, 100)
    axes.set_xlabel("share of messages lost")
    axes.set_ylabel("test accuracy, %")
    axes.grid(axis="y", color=LIGHT)
    dress(axes, "Message loss", "MNIST, ring of 16 nodes, Dirichlet 0.01, 400 rounds of 1 local step")


def _name(label: str) -> str:
    return "NGPD, untuned" if label == UNTUNED else label
