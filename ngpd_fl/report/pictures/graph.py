"""Picture of the graph, with nodes laid out by its family and colored by their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from ngpd_fl.config import Config
from ngpd_fl.records import ACCURACY, Measure
from ngpd_fl.report.colors import PALETTE
from ngpd_fl.report.layout import Points, edge_lines, node_positions, node_radius, smallest_distance
from ngpd_fl.report.pictures.style import FAINT, INK, dress, new_figure, short_name
from ngpd_fl.report.setting import graph_words
from topologies import Topology

_WIDTH, _INNER = 6.0, 4.8
"""Width of the picture, and of the graph in it, in inches."""

_INSIDE = 4
"""Most characters of a name inside a node."""


def graph_figure(
    config: Config, topology: Topology, values: Sequence[float] | None = None, measure: Measure = ACCURACY
) -> Figure:
    """Draw the union graph; if it varies, the edges of the first round stand out.

    Args:
        config: the configuration, for the title and the layout.
        topology: the graph.
        values: the nodes' values, ``[N]``, shown as colors. Defaults to one color.
        measure: the measure of the values.
    """
    positions = node_positions(config.topology, topology)
    width, height = np.ptp(positions, axis=0)
    radius = node_radius(smallest_distance(positions), max(width, height))
    inch = (max(width, height) + 3 * radius) / _INNER  # in units of the positions
    figure = new_figure(_WIDTH, 1.2 + max(height / inch, 1))
    axes = figure.add_subplot()
    shown = None if values is None else np.ma.masked_invalid(measure.factor * np.asarray(values))
    if shown is not None and shown.count() == 0:
        shown = None
    title = "Graph" if shown is None else f"{config.method}: {measure.name} of the nodes"
    unknown = "" if shown is None or shown.count() == len(shown) else "; gray: not evaluated"
    dress(axes, title, graph_words(config) + unknown)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.margins(0.03)
    _draw_edges(axes, topology, positions, radius)
    colors = _draw_nodes(axes, positions, radius, shown, measure)
    _draw_labels(axes, config.topology.node_names, positions, colors, radius, size=0.85 * radius / inch * 72)
    axes.autoscale_view()
    return figure


def _draw_edges(axes: Axes, topology: Topology, positions: Points, radius: float) -> None:
    """Draw all edges; in a varying graph, those of the first round above the others."""
    lines = edge_lines(positions, topology.edges, radius)
    # Many edges are thinner so that the nodes stay visible.
    width = float(np.clip(20 / len(lines) ** 0.5, 0.2, 1.6))
    if topology.is_directed:
        _draw_arrows(axes, topology, positions, radius, width)
        return
    if topology.is_static:
        axes.add_collection(LineCollection(lines, colors=FAINT, linewidths=width, alpha=min(0.4 + 0.4 * width, 1)))
        return
    active = topology.active(0)
    kinds = [("#d0d0d0", width, "all edges"), (PALETTE[1], 2 * width, "active in the first round")]
    axes.add_collection(LineCollection(lines, colors=kinds[0][0], linewidths=width))
    now = [line for line, is_active in zip(lines, active, strict=True) if is_active]
    axes.add_collection(LineCollection(now, colors=kinds[1][0], linewidths=2 * width))
    handles = [Line2D([], [], color=color, linewidth=2, label=label) for color, _, label in kinds]
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=9.5)


def _draw_arrows(axes: Axes, topology: Topology, positions: Points, radius: float, width: float) -> None:
    """Draw the edges of a directed graph as arrows from sender to receiver, with two heads for both directions."""
    runs = np.any([topology.sent(round) for round in range(topology.num_graphs)], axis=0).reshape(-1, 2)
    lines = edge_lines(positions, topology.edges, radius)
    axes.add_collection(LineCollection(lines, colors=FAINT, linewidths=width))
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": FAINT, "linewidth": width, "mutation_scale": 6 + 6 * width}
    for line, (forth, back) in zip(lines, runs.tolist(), strict=True):
        for course in [line] * forth + [line[::-1]] * back:
            way = course[-1] - course[-2]
            tip = course[-1] - 1.1 * radius * way / np.linalg.norm(way)
            axes.add_patch(FancyArrowPatch(tip - 0.01 * way, tip, shrinkA=0, shrinkB=0, zorder=1, **style))


def _draw_nodes(
    axes: Axes, positions: Points, radius: float, values: np.ma.MaskedArray[Any, Any] | None, measure: Measure
) -> Points:
    """Draw the nodes and their color scale; return the colors, ``[N, 4]``."""
    color_map = colormaps["viridis" if measure.higher_is_better else "viridis_r"]
    scale = ScalarMappable(cmap=color_map.with_extremes(bad=FAINT))
    if values is None:
        colors = np.tile(scale.cmap(0.3), (len(positions), 1))
    else:
        # The scale spans at least five points, or 5 %, so that small differences look small.
        middle = (values.max() + values.min()) / 2
        half = max((values.max() - values.min()) / 2, 2.5 if measure.is_share else 0.025 * middle)
        scale.set_clim(middle - half, middle + half)
        colors = np.asarray(scale.to_rgba(values))
        bar = axes.figure.colorbar(scale, ax=axes, label=measure.label, shrink=0.75, pad=0.02)
        bar.outline.set_visible(False)
    circles = PatchCollection([Circle((x, y), radius) for x, y in positions], zorder=2)
    circles.set(facecolor=colors, edgecolor="white", linewidth=1 if len(positions) <= 100 else 0)
    axes.add_collection(circles)
    return colors


def _draw_labels(
    axes: Axes, names: Sequence[str], positions: Points, colors: Points, radius: float, size: float
) -> None:
    """Write the nodes' names, in ``size`` points if legible, inside the nodes or, if long, below them."""
    if size < 4.5:
        return
    below = max(map(len, names)) > _INSIDE
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5} if below else None  # above edges
    for name, (x, y), color in zip(names, positions, colors, strict=True):
        ink = "white" if np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.55 and not below else INK
        where = {"y": y - 1.2 * radius, "va": "top"} if below else {"y": y, "va": "center_baseline"}
        axes.text(x, s=short_name(name), ha="center", fontsize=min(size, 11), color=ink, bbox=behind, zorder=3, **where)
