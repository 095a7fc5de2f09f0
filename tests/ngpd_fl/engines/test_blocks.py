"""Blocks: every node and every edge in its place, from both ends alike."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from ngpd_fl.engines.blocks import Block, make_blocks
from tests.support.pretend_device import PretendDevice, to_host
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds, undamped
from topologies import EdgesOptions, Topology

GRAPHS = {
    "ring": nx.cycle_graph(7),
    "star": nx.star_graph(9),
    "path": nx.path_graph(6),
    "wheel": nx.wheel_graph(5),
    "caveman": nx.connected_caveman_graph(3, 5),
    "scale-free": nx.barabasi_albert_graph(30, 2, seed=0),
    "pair": nx.path_graph(2),
}


def topology_of(name: str) -> Topology:
    return EdgesOptions.from_graph(GRAPHS[name]).build(seed=0)


def blocks_of(topology: Topology, chunk_size: int | None = None) -> list[Block]:
    def edge_penalty(degree: int, neighbor_degree: int) -> float:
        return 100.0 * min(degree, neighbor_degree) + max(degree, neighbor_degree)

    return make_blocks(topology, edge_penalty, chunk_size, torch.zeros(0, dtype=torch.float64))


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_is_in_one_block_with_nodes_of_about_its_degree(name: str, chunk_size: int | None) -> None:
    topology = topology_of(name)
    blocks = blocks_of(topology, chunk_size)
    assert sorted(node for block in blocks for node in block.nodes.tolist()) == list(range(topology.num_nodes))
    for block in blocks:
        degrees = topology.degrees[block.nodes.numpy()]
        assert degrees.max() <= 2 * degrees.min()
        alike = topology.degrees[np.ceil(np.log2(topology.degrees)) == np.ceil(np.log2(degrees.max()))]
        assert block.view.exists.shape == (len(block.nodes), alike.max())
        assert chunk_size is None or len(block.nodes) <= chunk_size


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_views_are_those_of_the_graph(name: str, chunk_size: int | None) -> None:
    topology = topology_of(name)
    graph, slots = topology.graph, {node: sorted(topology.graph[node]) for node in topology.graph}
    for block in blocks_of(topology, chunk_size):
        view = block.view
        assert torch.equal(view.node, block.nodes) and (view.num_nodes == len(graph)).all()
        for row, node in enumerate(block.nodes.tolist()):
            degree = graph.degree(node)
            assert view.exists[row].tolist() == [slot < degree for slot in range(view.exists.shape[1])]
            assert view.neighbor[row, :degree].tolist() == slots[node]
            assert view.sign[row, :degree].tolist() == [1 if node < other else -1 for other in slots[node]]
            assert [slots[other][view.reverse[row, slot]] for slot, other in enumerate(slots[node])] == [node] * degree
            etas = [100 * min(degree, d) + max(degree, d) for d in (graph.degree(other) for other in slots[node])]
            assert view.edge_penalty[row, :degree].tolist() == etas
            # A spare slot has no sign, no penalty, and itself for a neighbor.
            for field, empty in ((view.sign, 0), (view.edge_penalty, 0), (view.neighbor, node), (view.reverse, 0)):
                assert (field[row, degree:] == empty).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_a_slot_and_its_reverse_share_edge_and_penalty_and_have_opposite_signs(name: str) -> None:
    topology = topology_of(name)
    of_node = {}
    for block in blocks_of(topology):
        for row, node in enumerate(block.nodes.tolist()):
            of_node[node] = (
                type(block.view)(*(leaf[row] for leaf in block.view)),
                block.out_edge[row],
                block.in_edge[row],
            )
    seen = set()
    for node, (view, out_edge, in_edge) in of_node.items():
        for slot in view.exists.nonzero().flatten().tolist():
            other, other_out, other_in = of_node[int(view.neighbor[slot])]
            back = int(view.reverse[slot])
            assert int(other.neighbor[back]) == node and int(other.reverse[back]) == slot
            assert view.sign[slot] == -other.sign[back] and abs(view.sign[slot]) == 1
            assert view.edge_penalty[slot] == other.edge_penalty[back]
            assert out_edge[slot] == other_in[back] and in_edge[slot] == other_out[back]
            ends = (node, int(view.neighbor[slot]))
            assert sorted(ends) == topology.edges[int(out_edge[slot]) // 2].tolist()
            assert (int(out_edge[slot]) % 2 == 0) == (node < ends[1])
            seen.add(int(out_edge[slot]))
        spare = ~view.exists
        assert (out_edge[spare] == 2 * len(topology.edges)).all() and (in_edge[spare] == 2 * len(topology.edges)).all()
    assert seen == set(range(2 * len(topology.edges)))


def test_penalties_are_equal_at_both_ends_even_if_the_formula_is_not_symmetric() -> None:
    topology = topology_of("star")
    blocks = make_blocks(topology, lambda own, other: float(own), None, torch.zeros(0, dtype=torch.float64))
    etas = {float(eta) for block in blocks for eta in block.view.edge_penalty.flatten()}
    assert len(etas) == 1


def test_a_large_star_has_no_spare_slot() -> None:
    topology = EdgesOptions.from_graph(nx.star_graph(999)).build(seed=0)
    slots = sorted(block.view.exists.shape for block in blocks_of(topology))
    assert slots == [(1, 999), (999, 1)]


def test_spare_slots_never_hold_anything() -> None:
    topology = topology_of("wheel")
    engine = quadratic_engine(
        make_quadratic(10, 5, dim=3), undamped(lr=0.5, edge_penalty=0.5, theta=0.5), topology, message_loss=0.3
    )
    assert torch.isfinite(run_rounds(engine, 12)).all()
    (block,), (state,) = engine.group._blocks, engine.group.states
    spare = ~block.view.exists
    assert spare.sum() == 4
    dual, mirror = state.edges
    for leaf in (dual, mirror.value, mirror.unresolved, mirror.stale):
        assert (leaf[spare] == 0).all()
    assert (dual[~spare] != 0).all() and (mirror.value[~spare] != 0).all()
    assert (mirror.pending[spare] == 0).all()


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("name", GRAPHS)
def test_devices_hold_equal_parts_and_nodes_keep_their_order_and_slots(name: str, chunk_size: int | None) -> None:
    topology, like = topology_of(name), torch.zeros(0)
    whole = make_blocks(topology, lambda *_: 1.0, None, like)
    slots_of = {node: block.out_edge.shape[1] for block in whole for node in block.nodes.tolist()}
    for count in (1, 2, 3, 5):
        devices = [torch.device("cuda", index) for index in range(count)]
        with PretendDevice(count):
            placed = make_blocks(topology, lambda *_: 1.0, chunk_size, like, compute_devices=devices)
        of_devices = [sum(len(block.nodes) for block in placed if block.nodes.device == device) for device in devices]
        assert max(of_devices) - min(of_devices) <= 1 and sum(of_devices) == topology.num_nodes
        order = [devices.index(block.nodes.device) for block in placed]
        assert order == sorted(order)
        widths = [(node, block.out_edge.shape[1]) for block in placed for node in to_host(block.nodes).tolist()]
        assert widths == list(slots_of.items())
