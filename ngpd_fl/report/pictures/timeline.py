"""Timeline of the nodes from a run's event log: a bar per node, for computing, waiting and being away."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ngpd_fl.config import Config
from ngpd_fl.report.node_timelines import KINDS, NodeTimeline, chosen, excerpt
from ngpd_fl.report.pictures.style import LIGHT, dress, new_figure, short_name
from ngpd_fl.report.setting import setting_words


def timeline_figure(config: Config, timelines: Sequence[NodeTimeline]) -> Figure:
    """Draw the nodes' first rounds as bars over virtual time, the first node on top."""
    shown = chosen(timelines)
    end, part = excerpt(timelines)
    figure = new_figure(8.6, 1.7 + 0.26 * max(len(shown), 4))
    axes = figure.add_subplot()
    dress(axes, f"{config.method}: timeline of the nodes{part}", setting_words(config))
    for row, node in enumerate(shown):
        for kind, color in KINDS.items():
            intervals = [
                (begin, min(length, end - begin)) for begin, length in timelines[node].intervals[kind] if begin < end
            ]
            axes.broken_barh(intervals, (row - 0.36, 0.72), facecolors=color, edgecolors="white", linewidth=0.5)
    names = config.topology.node_names
    axes.set_yticks(range(len(shown)), [short_name(names[node]) for node in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.grid(axis="x", color=LIGHT)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("virtual time (s)")
    axes.set_ylabel(
        "node" if len(shown) == len(timelines) else f"{len(shown)} of {len(timelines)} nodes, slowest first"
    )
    there = [kind for kind in KINDS if any(length for timeline in timelines for _, length in timeline.intervals[kind])]
    handles = [Patch(color=KINDS[kind], label=kind) for kind in there]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9.5)
    return figure
