"""The README's figure: NGPD beside the other peers.

Left: test accuracy where each node has 2 of 10 classes. Right: what is left of it when messages are lost. Both show
means over seeds; error bars are standard deviations.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngpd_fl.report.pictures.style import FAINT, LIGHT, PALETTE, drawing, dress, new_figure
from results.cells import EARLIER, UNTUNED, Cell
from results.tables import Studies

_NGPD = {UNTUNED: "NGPD, untuned", EARLIER: "NGPD"}
_OTHERS = {"RelaySGD": PALETTE[1], "gradient tracking": PALETTE[2], "D2": PALETTE[3]}
_NAMED = dict.fromkeys(_NGPD.values(), PALETTE[0]) | _OTHERS
"""Color of the algorithms whose lines have a name of their own; the others are gray."""

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
        is_ours = result is cell.ngpd
        color = PALETTE[0] if is_ours else "#8c8c8c"
        size = 7 if is_ours else 5
        axes.errorbar(mean, place, xerr=result.sd, color=color, marker="o", ms=size, lw=1.6, capsize=2.5)
        axes.annotate(f"{mean:.1f}", (mean + (result.sd or 0), place), fontsize=9, color=color, **_BESIDE)
    axes.set_yticks(range(len(results)), [_name(result.label) for result in results])
    axes.set_xlim(60, 100)
    axes.set_xlabel("test accuracy of the nodes' models, %")
    axes.grid(axis="x", color=LIGHT)
    dress(axes, "Label skew", "MNIST, ring of 8 nodes with 2 of 10 classes each, 120 rounds of 8 local steps")


def _draw_loss(axes: Axes, cells: Sequence[Cell]) -> None:
    lines = {result.label: [cell.result(result.label) for cell in cells] for result in cells[0].compared}
    for label, results in lines.items():
        name = _name(label)
        means, deviations = zip(*((result.mean, result.sd) for result in results if result), strict=True)
        color = _NAMED.get(name, "#bdbdbd")
        width, order = (2.4, 3) if name in _NAMED else (1.4, 2)
        style: dict[str, Any] = {"color": color, "lw": width, "zorder": order, "marker": "o", "ms": 4, "capsize": 2}
        axes.errorbar(range(len(cells)), means, deviations, **style)
        if name in _NAMED:
            axes.annotate(name, (len(cells) - 1, means[-1]), color=color, **_BESIDE)
    gray = textwrap.fill(f"gray: {', '.join(label for label in lines if _name(label) not in _NAMED)}", 18)
    axes.annotate(gray, (1, 88), color=FAINT, fontsize=9, ha="center", va="top")
    axes.set_xticks(range(len(cells)), [cell.name for cell in cells])
    axes.set_xlim(-0.15, len(cells) + 0.1)
    axes.set_ylim(0, 100)
    axes.set_xlabel("share of messages lost")
    axes.set_ylabel("test accuracy, %")
    axes.grid(axis="y", color=LIGHT)
    dress(axes, "Message loss", "MNIST, ring of 16 nodes, Dirichlet 0.01, 400 rounds of 1 local step")


def _name(label: str) -> str:
    return _NGPD.get(label, label)
