"""Edge consensus with a shared random mask: by hand, its exact rest point, and what both ends make of a message."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ngpd_fl.engines import SynchronousEngine
from strategies import CECLOptions, ECLOptions, NGPDOptions, StrategyOptions
from strategies.compression.codecs import make_key, random_k
from strategies.compression.options import RandomK
from tests.support.clocks import Table, by_the_clock
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import Quadratic, make_quadratic, quadratic_engine, run_rounds, undamped
from topologies import parse_topology

PATH = {"name": "path", "nodes": 3}
RING = {"name": "ring", "nodes": 6}
STAR = {"name": "star", "nodes": 5}
HALF = RandomK(keep=0.5)


def build(topology: dict[str, Any]) -> Any:
    return parse_topology(topology).build(seed=0)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize(("theta", "mixing"), [(1.0, 0.0), (0.5, 0.0), (1.0, 0.6)])
def test_rounds_of_c_ecl_on_three_nodes(theta: float, mixing: float, engine: Any) -> None:
    """f_i = 1/2 |w - b_i|^2; one entry of two travels over an edge. The equations, number by number."""
    targets = torch.tensor([[3.0, 1.0], [0.0, 5.0], [-1.0, 2.0]], dtype=torch.float64)
    problem = Quadratic(torch.eye(2, dtype=torch.float64).repeat(3, 1, 1), targets)
    options = CECLOptions(lr=0.5, edge_penalty=2.0, theta=theta, mixing=mixing, compress=HALF)
    network = quadratic_engine(problem, options, build(PATH), engine=engine, start=torch.ones(2, dtype=torch.float64))
    w = {(i, p): 1.0 for i in range(3) for p in range(2)}
    sign = {(0, 1): 1.0, (1, 0): -1.0, (1, 2): 1.0, (2, 1): -1.0}
    z = {(i, j, p): a for (i, j), a in sign.items() for p in range(2)}
    traveled = set()
    for number in range(5):
        for i, p in w:
            pulls = [w[i, p] - a * z[i, j, p] for (node, j), a in sign.items() if node == i]
            w[i, p] -= (w[i, p] - float(targets[i, p]) + 2 * sum(pulls)) / (2 + 2 * len(pulls))
        y = {(i, j, p): z[i, j, p] - 2 * sign[i, j] * w[i, p] for i, j, p in z}
        before = dict(w)
        for i, j, p in y:
            key = make_key(torch.tensor(number), torch.tensor(3 * min(i, j) + max(i, j)))  # of the edge
            if p in random_k(key, 1, 2).tolist():
                z[i, j, p] = (1 - theta) * z[i, j, p] + theta * y[j, i, p]
                w[i, p] += mixing / 3 * (before[j, p] - before[i, p])
                traveled.add((i, j, p))
        expected = [[w[i, 0], w[i, 1]] for i in range(3)]
        torch.testing.assert_close(run_rounds(network, 1), torch.tensor(expected, dtype=torch.float64))
    assert traveled == set(z)


def c_ecl(**options: Any) -> StrategyOptions:
    return CECLOptions(**{"compress": HALF, **options})


def ngpd(**options: Any) -> StrategyOptions:
    return undamped(**{"compress": HALF, **options})


MATCHING = {**RING, "schedule": "matching"}


@pytest.mark.parametrize(
    ("method", "topology", "message_loss", "mixing"),
    [
        (c_ecl, RING, 0.0, 0.0),
        (c_ecl, STAR, 0.2, 0.0),
        (ngpd, STAR, 0.0, 1.0),
        (ngpd, RING, 0.2, 1.0),
        *(
            pytest.param(method, MATCHING, 0.2, mixing, marks=pytest.mark.slow)
            for method in (c_ecl, ngpd)
            for mixing in (0.0, 1.0)
        ),
    ],
)
def test_the_minimizer_is_reached_whatever_the_network(
    method: Any, topology: dict[str, Any], message_loss: float, mixing: float
) -> None:
    problem = make_quadratic(3, topology["nodes"], dim=8)
    options = method(lr=1.0, edge_penalty=0.4, mixing=mixing)
    rounds = 600 if "schedule" in topology else 220
    network = quadratic_engine(problem, options, build(topology), message_loss=message_loss)
    assert problem.relative_error(run_rounds(network, rounds)) < 1e-9


@pytest.mark.parametrize("mode", ["neighbor-synchronous", "asynchronous"])
def test_the_minimizer_is_reached_by_nodes_out_of_step(mode: str) -> None:
    problem = make_quadratic(3, 5, dim=8)
    engine = by_the_clock(mode, Table({0: 1.0, 1: 1.3, 2: 2.5}, default=0.4), rounds=220)
    options = undamped(lr=1.0, edge_penalty=0.4, memory=4, compress=HALF)
    network = quadratic_engine(problem, options, build(STAR), engine=engine, message_loss=0.1)
    assert problem.relative_error(run_rounds(network, 220)) < 1e-7


@pytest.mark.parametrize(("theta", "message_loss"), [(1.0, 0.0), (0.5, 0.3)])
@pytest.mark.parametrize(
    "options",
    [ECLOptions(lr=0.3), NGPDOptions(lr=0.3, damping=0.1, edge_penalty=0.4)],
    ids=lambda each: each.name,
)
def test_where_all_is_sent_it_is_the_algorithm_itself(
    options: StrategyOptions, theta: float, message_loss: float
) -> None:
    """After a loss the whole exchange knows again from one message on; so does every entry that is always sent."""
    problem, graph = make_quadratic(10, 6, dim=4), build(RING)
    plain, sent = (
        run_rounds(quadratic_engine(problem, each, graph, 2, message_loss=message_loss), 20)
        for each in (
            options.model_copy(update={"theta": theta, "compress": codec}) for codec in (None, RandomK(keep=1.0))
        )
    )
    torch.testing.assert_close(sent, plain, rtol=1e-12, atol=1e-12)


def test_both_directions_of_an_edge_carry_the_same_entries_and_edges_different_ones() -> None:
    """Found in the messages: all duals and parameters are known, so that a value tells its place."""
    problem = make_quadratic(10, 6, dim=40)
    options = undamped(lr=0.5, edge_penalty=0.4, compress=HALF)
    network = quadratic_engine(problem, options, build(RING), engine=NaiveNetwork)
    run_rounds(network, 3)
    places = {}
    for node, state in network.states.items():
        view = network.round_view(node, network.sends())
        message = network.strategy.outgoing(state, network.views[node], view)
        whole = network.strategy.strategy.outgoing(state, network.views[node], view).dual
        for slot, other in enumerate(network.neighbors[node]):
            values = message.dual_values[slot].tolist()
            places[node, other] = {whole[slot].tolist().index(value) for value in values}
            assert len(places[node, other]) == 20
    assert all(places[i, j] == places[j, i] for i, j in places)
    assert len({frozenset(each) for each in places.values()}) == 6
