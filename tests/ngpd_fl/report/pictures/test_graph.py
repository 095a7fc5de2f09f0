"""The graph's picture: every node and edge once, in places where none hides another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PatchCollection

from ngpd_fl.config import Config, build_topology
from ngpd_fl.records import ACCURACY, RMSE, Measure
from ngpd_fl.report.layout import edge_lines, node_positions, node_radius, smallest_distance
from ngpd_fl.report.pictures.graph import graph_figure
from topologies import TOPOLOGIES

NEEDS = {
    "edges": {"nodes": 4, "edges": [[0, 1], [1, 2], [2, 3], [3, 0], [0, 2]]},
    "sequence": {"nodes": 3, "graphs": [[[0, 1]], [[1, 2]]]},
    "directed-edges": {"nodes": 3, "edges": [[0, 1], [1, 2], [2, 0], [0, 2]]},
}
"""Values without which a family has no graph; one that needs a file is left to the others."""

FAMILIES = [name for name in TOPOLOGIES if name != "file"]


def configured(name: str, **values: Any) -> Config:
    return Config(topology={"name": name, **NEEDS.get(name, {}), **values})


@pytest.mark.parametrize("name", FAMILIES)
def test_every_node_and_every_edge_is_drawn(name: str) -> None:
    config = configured(name)
    topology = build_topology(config)
    (axes,) = graph_figure(config, topology).axes
    edges = next(each for each in axes.collections if isinstance(each, LineCollection))
    nodes = next(each for each in axes.collections if isinstance(each, PatchCollection))
    assert len(edges.get_segments()) == len(topology.edges)
    assert len(nodes.get_paths()) == topology.num_nodes
    labels = [text.get_text() for text in axes.texts[1:]]  # the first is the title
    assert labels == [str(node) for node in range(topology.num_nodes)]
    assert f"of {topology.num_nodes} nodes" in axes.get_title(loc="left")


def test_a_small_error_has_the_color_of_a_high_accuracy() -> None:
    config = configured("ring", nodes=3)
    topology = build_topology(config)

    def colors(values: list[float], measure: Measure) -> np.ndarray:
        axes, bar = graph_figure(config, topology, values, measure).axes
        assert bar.get_ylabel() == measure.label
        return next(each for each in axes.collections if isinstance(each, PatchCollection)).get_facecolor()

    np.testing.assert_allclose(colors([9.0, 1.0, 5.0], RMSE)[:2], colors([0.1, 0.9, 0.5], ACCURACY)[:2])
    assert len(graph_figure(config, topology, [math.nan] * 3, RMSE).axes) == 1  # nothing to show: no scale


def test_grey_nodes_are_said_to_be_those_without_a_value() -> None:
    config = configured("ring", nodes=3)
    for values, is_said in (([0.1, math.nan, 0.5], True), ([0.1, 0.9, 0.5], False)):
        axes = graph_figure(config, build_topology(config), values).axes[0]
        assert ("gray: not evaluated" in axes.get_title(loc="left")) == is_said


@pytest.mark.parametrize(
    ("name", "nodes"), [("torus", 12), ("torus", 64), ("circulant", 12), ("path", 25), ("ring", 64), ("star", 9)]
)
def test_no_edge_passes_over_a_node(name: str, nodes: int) -> None:
    config = configured(name, nodes=nodes)
    topology = build_topology(config)
    positions = node_positions(config.topology, topology)
    assert smallest_distance(positions) > 0
    radius = node_radius(smallest_distance(positions), np.ptp(positions, axis=0).max())
    for (i, j), line in zip(topology.edges, edge_lines(positions, topology.edges, radius), strict=True):
        np.testing.assert_allclose(line[[0, -1]], positions[[i, j]], atol=1e-12)
        fine = np.concatenate([np.linspace(a, b, 10) for a, b in zip(line[:-1], line[1:], strict=True)])
        others = np.delete(positions, [i, j], axis=0)
        assert np.linalg.norm(fine[:, None] - others, axis=2).min() > radius


def test_two_nodes_lie_side_by_side() -> None:
    config = configured("ring", nodes=2)
    np.testing.assert_allclose(node_positions(config.topology, build_topology(config)), [[-1, 0], [1, 0]], atol=1e-12)


@pytest.mark.parametrize("nodes", [2, 64, 300])
def test_colors_are_the_accuracies(nodes: int) -> None:
    config = configured("ring", nodes=nodes)
    accuracy = np.linspace(0.5, 0.9, nodes)
    figure = graph_figure(config, build_topology(config), accuracy.tolist())
    axes, bar = figure.axes
    assert bar.get_ylabel() == "accuracy (%)"
    assert bar.get_ylim() == pytest.approx((50, 90))
    nodes_drawn = next(each for each in axes.collections if isinstance(each, PatchCollection))
    assert len({tuple(color) for color in nodes_drawn.get_facecolor()}) == min(nodes, 256)
    assert len(axes.texts) == (1 if nodes == 300 else 1 + nodes)  # numbers only where they can be read


def test_equal_accuracies_are_one_color() -> None:
    config = configured("ring", nodes=4)
    axes, bar = graph_figure(config, build_topology(config), [0.8, 0.8, 0.8, 0.8 + 1e-12]).axes
    assert bar.get_ylim() == pytest.approx((77.5, 82.5))


def test_a_graph_that_varies_says_so() -> None:
    config = configured("ring", schedule="matching")
    topology = build_topology(config)
    figure = graph_figure(config, topology)
    (axes,) = figure.axes
    assert "a random matching each round" in axes.get_title(loc="left")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all edges", "active in the first round"]
    union, active = (each for each in axes.collections if isinstance(each, LineCollection))
    assert (len(union.get_segments()), len(active.get_segments())) == (8, int(topology.active(0).sum()))
