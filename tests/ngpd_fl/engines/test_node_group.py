"""Groups of nodes: a network of several follows the trajectory of one, through losses, restarts and outages."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ngpd_fl.engines import NO_MESSAGES, EdgeHeader, NodeGroup, OutgoingMessages, SynchronousEngine
from strategies import DSGDOptions, ECLOptions, NGPDOptions
from tests.support.naive import NaiveNetwork, Pair
from tests.support.node_groups import GroupNetwork
from tests.support.quadratic import make_quadratic, quadratic_engine, quadratic_settings, run_rounds
from topologies import parse_topology

NGPD = NGPDOptions(lr=0.3, damping=0.1, trust_radius=0.02, factor_every=2, basis_every=3)
OPTIONS = {
    "ngpd": NGPD,
    "ngpd-admm": NGPD.model_copy(update={"theta": 0.5}),
    "ecl": ECLOptions(lr=0.3),
    "dsgd": DSGDOptions(lr=0.3),
}
TOPOLOGIES: dict[str, dict[str, Any]] = {
    "ring": {"name": "ring", "nodes": 6},
    "star": {"name": "star", "nodes": 6, "weights": "uniform"},
    "matching": {"name": "ring", "nodes": 6, "schedule": "matching"},
}
GROUPS: dict[str, list[list[int]]] = {
    "halves": [[0, 1, 2], [3, 4, 5]],
    "uneven": [[4], [5, 0, 2], [3, 1]],
    "singles": [[node] for node in range(6)],
}


def make(engine: Any, options: Any, topology: str, message_loss: float = 0.0, **settings: Any) -> Any:
    graph = parse_topology(TOPOLOGIES[topology]).build(seed=0)
    problem = make_quadratic(10, nodes=6, dim=3)
    return quadratic_engine(problem, options, graph, 2, engine, message_loss=message_loss, seed=3, **settings)


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("name", OPTIONS)
def test_many_groups_follow_one(name: str, topology: str, groups: str, forgetful: bool) -> None:
    several = make(partial(GroupNetwork, members=GROUPS[groups], forgetful=forgetful), OPTIONS[name], topology, 0.3)
    assert_same(run_rounds(several, 8), run_rounds(make(SynchronousEngine, OPTIONS[name], topology, 0.3), 8))


@pytest.mark.parametrize("name", OPTIONS)
def test_states_stay_where_they_are(name: str) -> None:
    """Memory that moved each round would break up the heap: the process took up to twice as much."""
    engine = make(SynchronousEngine, OPTIONS[name], "star", chunk_size=2)
    places = [leaf.data_ptr() for leaf in tree_leaves(engine.group.states)]
    run_rounds(engine, 3)
    engine.group.load({name: leaf.clone() for name, leaf in engine.group.state().items()})
    engine.group.set_params(torch.zeros(3, dtype=torch.float64))
    assert [leaf.data_ptr() for leaf in tree_leaves(engine.group.states)] == places


class NaiveOutage(NaiveNetwork):
    """Nodes that are down neither compute nor send nor receive."""

    def down(self) -> set[int]:
        return {1: {2}, 3: {2, 3}, 4: {0}}.get(self.round, set())

    def local_step(self, node: int, step: int) -> None:
        if node not in self.down():
            super().local_step(node, step)

    def sends(self) -> set[Pair]:
        return {pair for pair in super().sends() if pair[0] not in self.down()}

    def arrives(self) -> set[Pair]:
        return {pair for pair in super().arrives() if pair[1] not in self.down()}

    def incoming(self, node: int, *args: Any) -> Any:
        return self.states[node] if node in self.down() else super().incoming(node, *args)


@pytest.mark.parametrize("topology", ["ring", "matching"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_group_that_is_away_for_some_rounds_comes_back_with_its_state(name: str, topology: str) -> None:
    outage = {1: [2], 3: [2, 3], 4: [0]}
    network = partial(GroupNetwork, members=GROUPS["singles"], outage=lambda number: outage.get(number, []))
    several = make(network, OPTIONS[name], topology, 0.2)
    assert_same(run_rounds(several, 10), run_rounds(make(NaiveOutage, OPTIONS[name], topology, 0.2), 10))


def group(nodes: list[int] | None = None, topology: str = "ring", options: Any = NGPD) -> NodeGroup:
    graph = parse_topology(TOPOLOGIES[topology]).build(seed=0)
    problem = make_quadratic(10, nodes=6, dim=3)
    return NodeGroup(quadratic_settings(problem, options, graph), nodes)


def test_only_messages_to_nodes_elsewhere_leave_a_group() -> None:
    assert group().write(0) == NO_MESSAGES
    messages = group([1, 2, 3]).write(
        0
    )  # ring: edges 0-1, 0-5, 1-2, 2-3, 3-4, 4-5; 1 to 0 is number 1, 3 to 4 number 8
    assert messages.payload.keys() == {"dual", "ratio"} and messages.payload[
        "dual"
    ].keys() == messages.headers.keys() == {1, 8}
    to_all = group([1, 2, 3], options=DSGDOptions()).write(0)
    assert to_all.payload["params"].keys() == {1, 3} and to_all.headers.keys() == {1, 8}


@pytest.mark.parametrize(
    "messages",
    [
        OutgoingMessages({}, {5: EdgeHeader(0, -1, 0, 0)}),
        OutgoingMessages({"dual": {0: torch.zeros(4, dtype=torch.float64)}}, {0: EdgeHeader(0, -1, 0, 0)}),
        OutgoingMessages({"dual": {0: torch.zeros(3, dtype=torch.float32)}}, {0: EdgeHeader(0, -1, 0, 0)}),
        OutgoingMessages({"dual": {5: torch.zeros(3, dtype=torch.float64)}}, {0: EdgeHeader(0, -1, 0, 0)}),
        OutgoingMessages({"dual": {99: torch.zeros(3, dtype=torch.float64)}}, {0: EdgeHeader(0, -1, 0, 0)}),
        OutgoingMessages({"params": {0: torch.zeros(3, dtype=torch.float64)}}, {0: EdgeHeader(0, -1, 0, 0)}),
    ],
)
def test_messages_that_do_not_fit_are_refused_and_change_nothing(messages: OutgoingMessages) -> None:
    refusing = group([1, 2])
    refusing.work(0)
    refusing.write(0)
    before = {name: leaf.clone() for name, leaf in refusing.state().items()}
    with pytest.raises(ValueError, match="a message"):
        refusing.read(0, messages)
    assert all(torch.equal(leaf, before[name]) for name, leaf in refusing.state().items())


@pytest.mark.parametrize("other", [group([1]), group([1, 2], "star"), group([1, 2], options=DSGDOptions())])
def test_a_state_that_belongs_elsewhere_is_refused(other: NodeGroup) -> None:
    with pytest.raises(ValueError, match=r"missing|not known|has shape|states of 1 nodes"):
        group([1, 2]).load(other.state())
