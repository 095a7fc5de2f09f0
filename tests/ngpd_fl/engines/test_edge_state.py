"""EdgeState: weights on the right directed edge, messages lost as often as they should be, truthful headers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ngpd_fl.core.directed_edges import EdgeHeader
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.engines.blocks import Block, make_blocks
from ngpd_fl.engines.edge_state import EdgeState
from strategies import DSGDOptions
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import Topology, parse_topology

WHEEL = [[0, 1], [1, 2], [2, 3], [0, 3], [0, 4], [1, 4], [2, 4], [3, 4]]
TOPOLOGIES: dict[str, dict[str, Any]] = {
    "star": {"name": "star", "nodes": 5},
    "wheel": {"name": "edges", "nodes": 5, "edges": WHEEL},
    "failing wheel": {
        "name": "edges",
        "nodes": 5,
        "edges": WHEEL,
        "schedule": {"name": "failing", "probability": 0.5},
    },
}


def make(topology: Topology, message_loss: float, seed: int = 0) -> tuple[EdgeState, list[Block]]:
    like = torch.zeros(0, dtype=torch.float64)
    return EdgeState(topology, message_loss, seed, like), make_blocks(topology, lambda own, other: 1.0, None, like)


def build(name: str, weights: str = "uniform") -> Topology:
    return parse_topology({**TOPOLOGIES[name], "weights": weights}).build(seed=0)


@pytest.mark.parametrize("weights", ["uniform", "metropolis", "max-degree"])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_round_views_are_the_mixing_matrix_and_the_active_edges(name: str, weights: str) -> None:
    topology = build(name, weights)
    edge_state, blocks = make(topology, 0.0)
    for number in range(3):
        matrix = topology.weights(number).matrix().toarray()
        active = {tuple(pair) for pair in topology.edges[topology.active(number)].tolist()}
        round = edge_state.open(number)
        for block in blocks:
            view = edge_state.view(round, block)
            assert (view.round == number).all()
            assert view.weight_own.tolist() == matrix.diagonal()[block.nodes.numpy()].tolist()
            for row, node in enumerate(block.nodes.tolist()):
                for slot in range(block.view.exists.shape[1]):
                    other, exists = int(block.view.neighbor[row, slot]), bool(block.view.exists[row, slot])
                    is_active = exists and (min(node, other), max(node, other)) in active
                    assert view.sends[row, slot] == is_active and view.receives[row, slot] == is_active
                    assert view.weight_in[row, slot] == (matrix[node, other] if exists else 0)
                    assert view.weight_out[row, slot] == (matrix[other, node] if exists else 0)
        edge_state.close(round)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_gossip_with_weights_that_are_not_symmetric_multiplies_by_the_matrix(name: str) -> None:
    topology, problem = build(name), make_quadratic(10, nodes=5, dim=3)
    engine = quadratic_engine(problem, DSGDOptions(lr=0.3, momentum=0.0), topology)
    params, hessians = torch.zeros(5, 3, dtype=torch.float64), problem.hessians
    for number in range(3):
        matrix = torch.tensor(topology.weights(number).matrix().toarray())
        assert number > 0 or not torch.equal(matrix, matrix.T)
        moved = params - 0.3 * torch.einsum("nij,nj->ni", hessians, params - problem.targets)
        params = matrix @ moved
        torch.testing.assert_close(run_rounds(engine, 1), params, rtol=1e-13, atol=1e-14)


def test_messages_are_lost_as_often_as_they_should_be_and_independently() -> None:
    topology = build("wheel")
    edge_state, _ = make(topology, 0.3)
    rounds = 4000
    delivered = torch.tensor(np.stack([edge_state.open(number).delivered[:-1] for number in range(rounds)])).double()
    lost = 1 - delivered
    spread = (0.3 * 0.7 / rounds) ** 0.5
    assert (lost.mean(0) - 0.3).abs().max() < 4 * spread
    correlation = torch.corrcoef(lost.T) - torch.eye(lost.shape[1])  # between edges, both directions among them
    assert correlation.abs().max() < 4.5 / rounds**0.5
    assert abs(torch.corrcoef(torch.stack([lost[:-1, 0], lost[1:, 0]]))[0, 1]) < 4 / rounds**0.5  # between rounds


def test_losses_are_keyed_by_seed_and_round_alone() -> None:
    topology = build("failing wheel")
    edges = len(topology.edges)
    first, _ = make(topology, 0.5, seed=3)
    later, _ = make(topology, 0.5, seed=3)
    assert np.array_equal(first.open(7).delivered, [later.open(number) for number in range(8)][7].delivered)
    draws = generator(3, Purpose.LOSS, step=7).random(2 * edges)
    expected = np.repeat(topology.active(7), 2) & (draws >= 0.5)
    assert first.open(7).delivered.tolist() == [*expected, False]
    other, _ = make(topology, 0.5, seed=4)
    assert any(not np.array_equal(first.open(r).delivered, other.open(r).delivered) for r in range(4))


def test_without_loss_everything_that_is_sent_arrives() -> None:
    edge_state, _ = make(build("failing wheel"), 0.0)
    for number in range(5):
        round = edge_state.open(number)
        assert np.array_equal(round.sent, round.delivered) and not round.sent.all()


@pytest.mark.parametrize("name", ["wheel", "failing wheel"])
def test_headers_tell_the_fate_of_the_last_63_messages(name: str) -> None:
    topology = build(name)
    edge_state, blocks = make(topology, 0.4)
    fates: dict[tuple[int, int], list[bool]] = {}
    for number in range(150):
        round = edge_state.open(number)
        for block in blocks:
            headers = edge_state.headers(round, block)
            for row, slot in block.view.exists.nonzero().tolist():
                pair = int(block.nodes[row]), int(block.view.neighbor[row, slot])
                last = fates.get(pair, [])[::-1][:63]
                assert int(headers.applied[row, slot]) == sum(1 << k for k, applied in enumerate(last) if applied)
                assert bool(headers.received[row, slot]) == bool(round.delivered[block.in_edge[row, slot]])
            assert (headers.age == 0).all() and not headers.received[~block.view.exists].any()
            assert (headers.applied[~block.view.exists] == 0).all()
        edge_state.close(round)
        for block in blocks:
            for row, slot in block.view.exists.nonzero().tolist():
                edge = int(block.out_edge[row, slot])
                if round.sent[edge]:
                    pair = int(block.nodes[row]), int(block.view.neighbor[row, slot])
                    fates.setdefault(pair, []).append(bool(round.delivered[edge]))


def test_messages_of_other_rounds_and_one_of_this_round_never_weigh_more_than_one() -> None:
    """Nodes 0 and 1 are here; 2 and 3, elsewhere, wrote to 0 in rounds 1 and 2. Every message weighs 1/2 in its own."""
    graphs = [[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]]]
    edge_state, _ = make(parse_topology({"name": "sequence", "nodes": 4, "graphs": graphs}).build(seed=0), 0.0)
    edges = {pair: 2 * e for e, pair in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])}
    round = edge_state.open(3)
    assert round.weight[[edges[0, 1], edges[0, 1] + 1]].tolist() == [0.5, 0.5]
    headers = {edges[0, 2] + 1: EdgeHeader(0, -1, 0, 1), edges[0, 3] + 1: EdgeHeader(0, -1, 0, 2)}
    weight = edge_state.receive(round, headers).weight
    assert weight[[edge + 1 for pair, edge in edges.items() if pair[0] == 0]].tolist() == [0.25] * 3  # 3/4 in sum
    assert weight[edges[0, 1]] == 0.5  # node 1 gets a message of this round alone
