"""``ngpd-fl topology``: picture and measures of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import print_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from topologies import Topology, TopologyOptions

_ROUNDS = 100
"""Rounds over which active edges are counted where they are drawn at random."""


@flags.with_config_flags("topology", "seed")
def topology(given: flags.ConfigFlags, out: flags.Picture = None) -> None:
    """Draw a graph and print its measures."""
    settings = given.load()

    from ngpd_fl.config import build_topology
    from ngpd_fl.report.pictures.graph import graph_figure
    from ngpd_fl.report.pictures.style import drawing, picture_path, save
    from ngpd_fl.report.setting import graph_words

    path = picture_path(out, f"{settings.topology.name}-{settings.topology.nodes}")
    graph = build_topology(settings)
    with drawing():
        save(graph_figure(settings, graph), path)
    lines = measures(graph, settings.topology.weights) + _labels(settings.topology)
    print_lines(graph_words(settings), lines, f"picture: {path}")


def _labels(options: TopologyOptions) -> list[tuple[str, str]]:
    """Return the labels of the nodes where they have some, e.g. ``0 attic, 1 cellar``."""
    if not options.has_labels:
        return []
    return [("labels", ", ".join(f"{node} {label}" for node, label in enumerate(options.node_names)))]


def measures(graph: Topology, weights: str) -> list[tuple[str, str]]:
    """Return the names and values of a graph's measures."""
    from topologies import consensus_rate, diameter, spectral_gap

    degrees, kind = graph.degrees, "degrees"
    if graph.is_directed:
        degrees, kind = _out_degrees(graph), "out-degrees"
    lines = [
        ("nodes", str(graph.num_nodes)),
        ("edges", str(len(graph.edges))),
        (kind, f"min {degrees.min()}, mean {degrees.mean():.2f}, max {degrees.max()}"),
        *([] if graph.is_directed else [("diameter", str(diameter(graph.graph)))]),
        ("schedule", _schedule(graph)),
        ("weights", f"{weights}, {'' if graph.is_doubly_stochastic else 'not '}doubly stochastic"),
    ]
    if graph.is_directed and not graph.is_doubly_stochastic:
        return lines  # rates are those of averages, which go astray there
    if graph.is_static:
        lines.append(("spectral gap", f"{spectral_gap(graph.weights(0).matrix()):.4f}"))
    return [*lines, ("consensus rate", f"{consensus_rate(graph):.4f} (disagreement left by a round of averaging)")]


def _out_degrees(graph: Topology) -> NDArray[np.int64]:
    """Return the number of receivers of each node of a directed graph, over all rounds, ``[N]``."""
    import numpy as np

    sent = np.any([graph.sent(round) for round in range(graph.num_graphs)], axis=0).reshape(-1, 2)
    return np.bincount(graph.edges[sent], minlength=graph.num_nodes)


def _schedule(graph: Topology) -> str:
    """Describe the schedule: static, or how it varies and how many edges are active."""
    if graph.is_static:
        return "static"
    rounds = graph.period or _ROUNDS
    active = sum(int(graph.active(round).sum()) for round in range(rounds)) / rounds
    turns = f"repeats after {graph.period} rounds" if graph.period else "drawn in each round"
    return f"{turns}; {active:.1f} edges active on average"
