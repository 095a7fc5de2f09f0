"""Tampered and refused messages, by hand; then in whole networks against the naive engine."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch

from ngpd_fl.clock import Work, make_timeline
from ngpd_fl.config import FaultsConfig
from ngpd_fl.engines import EngineSettings, EventEngine
from ngpd_fl.faults import Tampering
from strategies.ngpd import BalancedMessage
from strategies.parts.edge_consensus import EdgeMessage
from strategies.parts.gossip import ParamsMessage
from tests.strategies.test_conformance import START, assert_same, options_of
from tests.support.clocks import Script, Table, by_the_clock
from tests.support.naive_events import NaiveEvents
from tests.support.networks import perceptron
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology


def works(*times: float, round: int = 0) -> list[Work]:
    return [Work(time, node, round, 0.0, False, ()) for node, time in enumerate(times)]


def sent(params: torch.Tensor, *times: float, round: int = 0, **faults: Any) -> torch.Tensor:
    tampering = Tampering(FaultsConfig(**faults), 0, ())
    changed: torch.Tensor = tampering.sent(ParamsMessage(params), works(*times, round=round)).params
    return changed


def test_what_is_sent() -> None:
    params = torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
    period = {"node": 1, "at_s": 2.0, "until_s": 3.0}
    flipped = sent(params, 2.0, 2.0, byzantine=[{**period, "kind": "sign-flip", "scale": 0.5}])
    assert flipped.tolist() == [[1.0, -2.0], [-1.5, -2.0]]
    assert params.tolist() == [[1.0, -2.0], [3.0, 4.0]]
    for time in (1.99, 3.0):
        assert sent(params, 2.0, time, corrupt=[{**period, "kind": "huge"}]).equal(params)
    for kind in ("nan", "shape"):
        found = sent(params, 2.0, 2.5, corrupt=[{**period, "kind": kind}])
        assert found[0].equal(params[0]) and found[1].isnan().all()
    assert sent(params, 2.0, 2.5, corrupt=[{**period, "kind": "huge"}])[1].tolist() == [1e30, 1e30]


def test_gaussian_lies_are_drawn_by_node_and_round_the_same_for_all_neighbors() -> None:
    faults = {
        "byzantine": [{"node": 0, "kind": "gaussian", "scale": 3.0}, {"node": 1, "kind": "gaussian", "scale": 3.0}]
    }
    zeros = torch.zeros(2, 5000, dtype=torch.float64)
    first = sent(zeros, 0.0, 0.0, **faults)
    assert first.std(1).tolist() == pytest.approx([3.0, 3.0], rel=0.05)
    assert first.equal(sent(zeros, 7.0, 8.0, **faults)) and not first[0].equal(first[1])
    assert not first.equal(sent(zeros, 0.0, 0.0, round=1, **faults))
    tampering = Tampering(FaultsConfig(**faults), 0, ("dual",))
    dual = tampering.sent(EdgeMessage(torch.zeros(2, 3, 5000, dtype=torch.float64)), works(0.0, 0.0)).dual
    assert all(dual[:, slot].equal(first) for slot in range(3))


def test_a_byzantine_node_goes_on_with_what_it_sent_and_a_corrupting_one_with_what_it_meant() -> None:
    byzantine = {"node": 0, "kind": "sign-flip"}
    tampering = Tampering(FaultsConfig(byzantine=[byzantine], corrupt=[{"node": 1, "kind": "nan"}]), 0, ())
    believed = tampering.believed(ParamsMessage(torch.ones(2, 3)), works(0.0, 0.0)).params
    assert believed.tolist() == [[-1.0] * 3, [1.0] * 3]


def test_what_is_refused() -> None:
    tampering = Tampering(FaultsConfig(refuse_above=2.0), 0, ())
    own = ParamsMessage(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))  # norms 5 and 1
    nan, inf = float("nan"), float("inf")
    inbox = [[[6.0, 8.0], [0.0, 10.1], [0.0, 0.0]], [[0.0, 2.1], [nan, 0.0], [inf, 0.0]]]
    accepted = tampering.accepted(ParamsMessage(torch.tensor(inbox)), own)
    assert accepted.tolist() == [[True, False, True], [False, False, False]]
    # Where each neighbor gets its own, each is held against what that one got.
    tampering = Tampering(FaultsConfig(refuse_above=2.0), 0, ("dual",))
    accepted = tampering.accepted(
        EdgeMessage(torch.tensor([[[4.0], [4.0]]])), EdgeMessage(torch.tensor([[[2.0], [1.0]]]))
    )
    assert accepted.tolist() == [[True, False]]


def test_a_number_that_weights_a_message_only_has_to_be_finite() -> None:
    tampering, vector = Tampering(FaultsConfig(refuse_above=2.0), 0, ("dual",)), torch.ones(1, 3, 4)
    sent = BalancedMessage(vector, torch.tensor([0.01]))
    accepted = tampering.accepted(BalancedMessage(vector, torch.tensor([[2.0, float("nan"), 0.01]])), sent)
    assert accepted.tolist() == [[True, False, True]]


FAULTS = FaultsConfig(
    corrupt=[
        {"node": 0, "at_s": 1.5, "until_s": 4, "kind": "nan"},
        {"node": 0, "at_s": 6, "until_s": 9, "kind": "huge"},
        {"node": 3, "at_s": 5, "until_s": 8, "kind": "shape"},
    ],
    byzantine=[
        {"node": 2, "at_s": 2, "until_s": 4, "kind": "sign-flip", "scale": 0.5},
        {"node": 2, "at_s": 6, "kind": "gaussian", "scale": 0.1},
    ],
    refuse_above=30.0,
)
COSTS = Table({1: 2.5, 2: 0.4}, {3: 0.4, 4: 1.7}, default=0.1)
CONDITIONS = Script([(3.3, 1, False), (7.1, 1, True)], {(2, 1): (), (0, 2): (0.0, 1.0), (5, 3): (4.0,)})


VARIANTS: dict[str, Any] = {
    "ecl": {"theta": 0.5},
    "c-ecl": {"mixing": 1.0, "compress": {"name": "random-k", "keep": 0.6}},
}


@pytest.mark.parametrize(
    ("mode", "graph"), [("synchronous", "ring"), ("neighbor-synchronous", "star"), ("asynchronous", "ring")]
)
@pytest.mark.parametrize("name", ["ngpd", "ecl", "dsgd", "c-ecl"])
def test_a_network_with_byzantine_nodes_is_the_naive_one(name: str, mode: str, graph: str) -> None:
    topology = parse_topology({"name": graph, "nodes": 4}).build(seed=0)
    options = options_of(name, VARIANTS.get(name, {}))
    problem = make_quadratic(10, 4, dim=3)
    engines = [
        quadratic_engine(
            problem,
            options,
            topology,
            engine=by_the_clock(mode, COSTS, CONDITIONS, engine=partial(engine, tampering=tampering)),
            start=START,
        )
        for engine, tampering in (
            (NaiveEvents, FAULTS),
            (EventEngine, Tampering(FAULTS, 0, options.needs.per_edge)),
        )
    ]
    results = [run_rounds(engine, 14) for engine in engines]
    assert_same(results[1], results[0])
    assert engines[0].refused == engines[1]._exchange.refused > 0
    assert results[1].isfinite().all()


@pytest.mark.parametrize("name", ["ngpd", "dsgd"])
def test_stopped_and_gone_on_with_among_byzantine_nodes(name: str) -> None:
    topology = parse_topology({"name": "ring", "nodes": 4}).build(seed=0)
    problem, options = perceptron(), options_of(name, {})

    def make() -> tuple[Any, EventEngine]:
        events = make_timeline("neighbor-synchronous", topology, 12, COSTS, CONDITIONS)
        strategy, start = problem.strategy(options), problem.model.start()
        settings = EngineSettings(strategy, topology, problem.minibatches, start, local_steps=2, rounds=12)
        return events, EventEngine(settings, events, Tampering(FAULTS, 0, options.needs.per_edge))

    _, unbroken = make()
    expected = run_rounds(unbroken, 6)
    first_events, first = make()
    run_rounds(first, 3)
    tensors, values = first.state()
    stored = json.loads(json.dumps([values, first_events.state()]))
    second_events, second = make()
    second.load({key: value.clone() for key, value in tensors.items()}, stored[0])
    second_events.load(stored[1])
    assert torch.equal(run_rounds(second, 3), expected)
    assert second._exchange.refused == unbroken._exchange.refused > 0
