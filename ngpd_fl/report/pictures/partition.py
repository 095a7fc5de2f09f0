"""Picture of a partition: training examples per class and node as a heat map, examples per node above it."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ngpd_fl.config import Config
from ngpd_fl.records import ACCURACY, RMSE, Measure
from ngpd_fl.report.colors import PALETTE
from ngpd_fl.report.pictures.style import FAINT, INK, LIGHT, dress, new_figure, short_name
from ngpd_fl.report.setting import partition_words

_CELLS = 300
"""Most cells that show their counts."""

_UPRIGHT = 4
"""Most characters of a name that is not rotated."""


def count_labels(config: Config) -> tuple[NDArray[np.int64], Measure]:
    """Return the nodes' training examples per class (in regression, per bin of targets), ``[N, C]``, and the measure.

    The data are read and divided as in a run, without training.
    """
    from ngpd_fl.data import divide  # it loads torch, which drawing does not need

    division = divide(config)
    return division.counts, division.dataset.task.measure


def partition_figure(config: Config, counts: NDArray[np.int64], measure: Measure = ACCURACY) -> Figure:
    """Draw label counts ``[N, C]``, nodes from left to right, classes (or bins) from bottom to top."""
    num_nodes, num_classes = counts.shape
    figure = new_figure(7.2, 5.4)
    bars, cells = figure.subplots(2, 1, sharex=True, height_ratios=(1, 4))
    dress(
        bars,
        f"Training {measure.examples} of {num_nodes} nodes",
        f"{partition_words(config)}; {int(counts.sum()):,} {measure.examples}; seed {config.seed}",
    )
    bars.bar(range(num_nodes), counts.sum(1), color=FAINT, width=0.8 if num_nodes <= 100 else 1)
    bars.set_ylabel(measure.examples)
    bars.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bars.grid(axis="y", color=LIGHT)
    bars.tick_params(bottom=False)

    dress(cells, "")
    shown = np.ma.masked_equal(counts.T, 0)  # no color without examples
    image = cells.imshow(shown, aspect="auto", origin="lower", cmap="Blues", interpolation="nearest")
    image.set_clim(-0.15 * counts.max(), counts.max())  # a single example is pale, but not white
    cells.set_xlabel("node")
    cells.set_ylabel("quantile bin of the target" if measure is RMSE else measure.group)
    cells.set_xlim(-0.5, num_nodes - 0.5)
    for axis, size in ((cells.xaxis, num_nodes), (cells.yaxis, num_classes)):
        axis.set_major_locator(MaxNLocator(min(size, 17), integer=True))
    names = config.topology.node_names
    if len(names) == num_nodes:  # not if one node stands for all
        cells.xaxis.set_major_formatter(
            FuncFormatter(lambda place, _: short_name(names[round(place)]) if 0 <= place < num_nodes else "")
        )
        cells.tick_params(axis="x", rotation=45 if max(map(len, names)) > _UPRIGHT else 0)
    if counts.size <= _CELLS:
        dark = 0.55 * counts.max()
        for node, label in zip(*np.nonzero(counts), strict=True):
            count = counts[node, label]
            color = "white" if count > dark else INK
            cells.text(node, label, str(count), ha="center", va="center", fontsize=8, color=color)
    else:
        bar = figure.colorbar(image, ax=cells, label=measure.examples, pad=0.01, ticks=MaxNLocator(6, integer=True))
        bar.ax.set_ylim(1, None)
        bar.outline.set_visible(False)
    for label in np.flatnonzero(counts.sum(0) == 0):
        cells.annotate("on no node", (0.5, label), xycoords=("axes fraction", "data"), ha="center", va="center",
                       fontsize=8.5, color=PALETTE[1])  # fmt: skip
    return figure
