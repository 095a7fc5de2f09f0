"""The event-driven engine: with identical devices the synchronous network, with any others the naive one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch

from ngpd_fl.clock import MODES, Read, Work, make_timeline
from ngpd_fl.engines import EngineSettings, EventEngine, SynchronousEngine
from ngpd_fl.engines.event_driven import levels_of
from ngpd_fl.engines.messages import InFlightMessages
from strategies import STRATEGIES, DSGDOptions, ECLOptions
from strategies.parts.edge_consensus import EdgeConsensusOptions
from strategies.parts.gossip import ParamsMessage
from tests.strategies import test_conformance as conformance
from tests.strategies.test_conformance import CASES, START, assert_same, is_allowed, label, options_of
from tests.support.clocks import Script, Table, by_the_clock
from tests.support.naive_events import NaiveEvents
from tests.support.networks import perceptron
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

TOPOLOGIES = {name: options for name, options in conformance.TOPOLOGIES.items() if name not in ("directed", "one-peer")}
"""The clock takes edges that run both ways."""

GRAPHS = {case: graph for graph, case in enumerate(TOPOLOGIES)}


def settings_of(case: Any, graph: str, wanted: list[tuple[float, int]]) -> tuple[Any, Any, dict[str, Any]] | None:
    """Options, graph, and the first of ``wanted`` (message loss, local steps) that the algorithm can do there."""
    options, topology = options_of(*case), parse_topology(TOPOLOGIES[graph]).build(seed=0)
    for message_loss, local_steps in wanted:
        if is_allowed(options, topology, message_loss, local_steps):
            settings = {"message_loss": message_loss, "local_steps": local_steps, "seed": 1, "start": START}
            return options, topology, {**settings, "lr_scale": lambda step: 1 / (1 + 0.1 * step)}
    return None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=label)
def test_identical_devices_without_delay_are_the_synchronous_network(case: Any, mode: str) -> None:
    compared = 0
    for graph in ("star", "matching", "failing"):
        if found := settings_of(case, graph, [(0.3, 3), (0.0, 3), (0.3, 1), (0.0, 1)]):
            options, topology, settings = found
            problem = make_quadratic(10, topology.num_nodes, dim=3)
            expected, actual = (
                run_rounds(quadratic_engine(problem, options, topology, engine=engine, **settings), 6)
                for engine in (SynchronousEngine, by_the_clock(mode))
            )
            assert_same(actual, expected)
            compared += 1
    assert compared or options_of(*case).needs.static


def weather(topology: Any, seed: int) -> tuple[Table, Script]:
    """Costs and conditions by chance: slow devices, slow links, lost and doubled messages, nodes that go."""
    chance = random.Random(seed)
    edges = range(2 * len(topology.edges))
    costs = Table(
        {node: chance.choice([0.4, 1.0, 1.5, 7.0]) for node in range(topology.num_nodes)},
        {edge: chance.choice([0.0, 0.3, 2.5]) for edge in edges},
    )
    fates = {(edge, k): chance.choice([(), (0.0, 1.0), (4.0,), (0.0,)]) for edge in edges for k in range(60)}
    comings = [(chance.uniform(2, 30), node, present) for node in (0, 1) for present in (False, True)]
    return costs, Script(comings, fates)


# All of what can go wrong where an algorithm reads all headers, a third of it where it reads which messages came.
WEATHERS = [
    (name, mode, timeout, graph)
    for name, (options, _) in STRATEGIES.items()
    for number, (mode, timeout) in enumerate(
        [("synchronous", None), ("neighbor-synchronous", 1.2), ("asynchronous", None)]
    )
    for graph in TOPOLOGIES
    if issubclass(options, EdgeConsensusOptions) or GRAPHS[graph] % 3 == number
]


@pytest.mark.parametrize(("name", "mode", "timeout", "graph"), WEATHERS)
def test_whatever_the_conditions_it_is_the_naive_network(name: str, mode: str, timeout: Any, graph: str) -> None:
    variant: dict[str, Any] = {"theta": 0.5} if graph in ("ring", "failing") and name in ("ecl", "ngpd") else {}
    if name == "c-ecl":
        variant = {"mixing": 1.0, "compress": {"name": "random-k", "keep": 0.6}, "memory": 3}
    found = settings_of((name, variant), graph, [(0.3, 2), (0.3, 1)])
    if not found:
        pytest.skip(f"{name} needs every message, or another graph; its refusal is tested elsewhere")
    options, topology, settings = found
    costs, conditions = weather(topology, seed=GRAPHS[graph])
    problem = make_quadratic(10, topology.num_nodes, dim=3)
    expected, actual = (
        run_rounds(
            quadratic_engine(
                problem,
                options,
                topology,
                engine=by_the_clock(mode, costs, conditions, timeout=timeout, engine=engine),
                **settings,
            ),
            14,
        )
        for engine in (NaiveEvents, EventEngine)
    )
    assert_same(actual, expected)


@pytest.mark.parametrize("mode", ["synchronous", "neighbor-synchronous"])
@pytest.mark.parametrize("name", ["choco-sgd", "ecl"])
def test_differences_add_up_whoever_is_slow(name: str, mode: str) -> None:
    """Who needs every message gets each of them once and in order, also where a neighbor is a round ahead."""
    options = options_of(name, {"theta": 0.5, "compress": "quantize"} if name == "ecl" else {})
    topology, problem = parse_topology(TOPOLOGIES["ring"]).build(seed=0), make_quadratic(10, 5, dim=3)
    costs = Table({0: 1.0, 1: 1.3, 2: 4.0, 3: 0.3, 4: 2.2}, {0: 3.0, 5: 0.7}, default=0.1)
    expected, actual = (
        run_rounds(quadratic_engine(problem, options, topology, engine=engine, start=START), 30)
        for engine in (SynchronousEngine, by_the_clock(mode, costs, rounds=30))
    )
    assert_same(actual, expected)


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("name", ["ngpd", "dsgd"])
def test_real_networks_in_rounds_of_their_own(name: str, chunk_size: int | None) -> None:
    """Curvature is refreshed in each node's own steps, also after rounds that were left out."""
    topology = parse_topology({"name": "ring", "nodes": 5}).build(seed=0)
    problem, options = perceptron(), options_of(name, {})
    conditions = Script(comings=[(0.0, 2, False), (3.3, 2, True), (4.1, 3, False)])
    costs = Table({0: 1.0, 1: 2.0, 4: 5.0}, default=0.1)
    runs = []
    for engine, more in ((NaiveEvents, {}), (EventEngine, {"chunk_size": chunk_size})):
        make = by_the_clock("neighbor-synchronous", costs, conditions, timeout=1.0, engine=engine)
        start = problem.model.start()
        network = make(EngineSettings(problem.strategy(options), topology, problem.minibatches, start, 2, 8, **more))
        runs.append(run_rounds(network, 8))
    assert_same(runs[1], runs[0], 1e-10)
    assert (runs[0][2] - problem.model.start()).norm() > 1e-3


def test_the_rest_point_is_exact_in_every_mode() -> None:
    """ECL, a straggler, slow links, losses: the nodes still meet where all gradients together vanish."""
    topology = parse_topology({"name": "ring", "nodes": 4}).build(seed=0)
    problem, options = make_quadratic(10, 4, dim=3), ECLOptions(lr=0.5, edge_penalty=0.4, mixing=0)
    costs = Table({0: 1.0, 1: 1.3, 2: 4.0, 3: 0.9}, default=0.4)
    for mode in MODES:
        lossy = {"message_loss": 0.2, "seed": 3}
        engine = quadratic_engine(problem, options, topology, engine=by_the_clock(mode, costs, rounds=400), **lossy)
        assert problem.relative_error(run_rounds(engine, 400)) < 1e-6, mode


def test_nodes_whose_inputs_are_there_are_computed_together() -> None:
    topology = parse_topology({"name": "ring", "nodes": 6}).build(seed=0)
    even = list(levels_of(make_timeline("synchronous", topology, 3, Table(), Script()).advance()))
    assert [(len(works), len(reads)) for works, reads in even] == [(6, 0), (0, 6)]
    # One node takes five times as long: in its one round the five others do five.
    events = make_timeline("asynchronous", topology, 30, Table({0: 5.0}, default=0.1), Script())
    levels = list(levels_of([event for _ in range(5) for event in events.advance()]))
    assert [len(works) for works, _ in levels if works] == [6, 5, 5, 5, 5, 5]
    done: set[Any] = set()
    for level in levels:
        here: set[Any] = set()
        for event in (*level[0], *level[1]):
            if isinstance(event, Work):
                here.update(event.sends)
            if isinstance(event, Read):
                assert {(taken.edge, taken.sequence) for taken in event.taken} <= done
        done |= here


def test_figures_of_a_round() -> None:
    """Bytes of all messages, steps of all nodes, and no number where nobody took a step."""
    topology = parse_topology({"name": "path", "nodes": 3}).build(seed=0)
    gone = Script(comings=[(1.5, node, False) for node in range(3)])
    make = by_the_clock("synchronous", conditions=gone, rounds=5)
    engine = quadratic_engine(make_quadratic(10, 3, dim=3), DSGDOptions(), topology, 2, make)
    first, second = engine.run_round(), engine.run_round()
    assert (first.node_steps, first.bytes_sent) == (6, 4 * 3 * 8) and torch.isfinite(first.loss)
    assert (second.node_steps, second.bytes_sent) == (0, 0) and torch.isnan(second.loss)


def test_messages_are_kept_until_it_is_forgotten_and_uses_its_place_again() -> None:
    for per_edge in ((), ("params",)):
        in_flight = InFlightMessages(per_edge, ParamsMessage(torch.zeros((1, 2, 3) if per_edge else (1, 3))))
        shape = (2, 2, 3) if per_edge else (2, 3)
        first = torch.arange(12.0 if per_edge else 6.0).view(shape)
        in_flight.put(ParamsMessage(first), [(0, 0, (0, 0)), (0, 1, (2, 0)), (1, 1, (4, 0))])
        size = len(in_flight._buffers["params"])
        inbox = in_flight.take([[(4, 0), None], [(2, 0), (0, 0)]]).params
        sent = first if per_edge else first[:, None].expand(2, 2, 3)
        assert torch.equal(inbox[0, 0], sent[1, 1]) and torch.equal(inbox[0, 1], torch.zeros(3))
        assert torch.equal(inbox[1, 0], sent[0, 1]) and torch.equal(inbox[1, 1], sent[0, 0])
        in_flight.forget((0, 0))
        assert (0, 0) not in in_flight and (2, 0) in in_flight
        in_flight.forget((2, 0))
        in_flight.put(ParamsMessage(first + 100), [(1, 0, (0, 1))])
        assert len(in_flight._buffers["params"]) == size
        assert torch.equal(in_flight.take([[(0, 1), (4, 0)]]).params[0, 1], sent[1, 1])
        assert torch.equal(in_flight.take([[(0, 1)]]).params[0, 0], sent[1, 0] + 100)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["ngpd", "dsgd"])
def test_stopped_and_gone_on_with_it_is_the_same_bit_for_bit(name: str, mode: str) -> None:
    """With messages on their way, nodes away, others in rounds of their own."""
    topology = parse_topology({"name": "ring", "nodes": 5}).build(seed=0)
    problem, options = perceptron(), options_of(name, {})
    costs, conditions = weather(topology, seed=1)

    def make() -> tuple[Any, EventEngine]:
        events = make_timeline(mode, topology, 12, costs, conditions)
        strategy, start = problem.strategy(options), problem.model.start()
        settings = EngineSettings(strategy, topology, problem.minibatches, start, 2, rounds=12, chunk_size=3)
        return events, EventEngine(settings, events)

    _, unbroken = make()
    expected = run_rounds(unbroken, 7)
    first_events, first = make()
    run_rounds(first, 4)
    tensors, values = first.state()
    stored = json.loads(json.dumps([values, first_events.state()]))
    copies = {key: value.clone() for key, value in tensors.items()}
    run_rounds(first, 1)  # what was kept does not change with what goes on
    second_events, second = make()
    second.load(copies, stored[0])
    second_events.load(stored[1])
    assert second.round == 4
    assert torch.equal(run_rounds(second, 3), expected)
    with pytest.raises(ValueError, match=r"missing|not known|shape"):
        second.load({**copies, "x": torch.zeros(1)}, stored[0])
    message = next(key for key in copies if key.startswith("in_flight."))
    with pytest.raises(ValueError, match="messages"):
        second.load({**copies, message: torch.zeros(3, 2)}, stored[0])
