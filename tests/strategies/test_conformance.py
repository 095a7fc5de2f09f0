"""Every registered algorithm: the vectorized engine follows the naive loop's trajectory; what it cannot do is refused.

A new algorithm is covered as soon as it is registered; ``VARIANTS`` may add options that it should be run with.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ngpd_fl.config import Config, InputError
from ngpd_fl.engines import EngineSettings, SynchronousEngine, check_topology
from strategies import STRATEGIES, StrategyOptions, parse_strategy
from tests.support.naive import NaiveNetwork
from tests.support.networks import convolutional, perceptron
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import Topology, parse_topology

ROUNDS = 7
START = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)

EDGE_VARIANTS: list[dict[str, Any]] = [
    *({"theta": theta, "mixing": mixing} for theta in (1.0, 0.5) for mixing in (0.0, 0.5, 1.0)),
    {"theta": 0.5, "mixing": 1.0, "clip": 1.0},
]
RANDOM = {"name": "random-k", "keep": 0.6}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "ngpd": [
        *EDGE_VARIANTS,
        {"edge_metric": "fisher", "penalty_scale": 1.0},
        {"message_dtype": "float16"},
        {"compress": RANDOM, "theta": 0.5, "mixing": 0.5, "message_dtype": "float16"},
        {"compress": "quantize", "theta": 0.5},
    ],
    "ngpd-tracking": [{}, {"clip": 1.0, "fisher_smoothing": 0.3, "message_dtype": "float16"}],
    "ecl": [*EDGE_VARIANTS, {"message_dtype": "bfloat16"}, {"compress": "top-k", "theta": 0.5}],
    "dsgd": [
        {"momentum": 0.0},
        {"momentum": 0.9},
        {"momentum": 0.9, "clip": 1.0},
        {"message_dtype": "float32"},
        {"compress": RANDOM},
    ],
    "kfac-gossip": [{}, {"clip": 1.0}],
    "d2": [{}, {"compress": RANDOM}],
    "exact-diffusion": [{"clip": 1.0}, {"compress": "top-k"}],
    "gradient-tracking": [{}, {"compress": RANDOM}],
    "momentum-tracking": [{"clip": 1.0}],
    "demuon": [{}, {"clip": 1.0}],
    "suda-muon": [{"template": "ed", "message_dtype": "float16"}, {"template": "extra", "clip": 1.0}],
    "gut": [{"scaling": 0.6, "clip": 1.0}, {"momentum": 0.5}, {"compress": RANDOM}],
    "gtadam": [{}, {"bias_correction": True, "weight_decay": 0.1, "clip": 1.0, "message_dtype": "float32"}],
    "lt-admm": [{}, {"mixing": 0.5, "clip": 1.0}],
    "dinno": [{}, {"edge_penalty": 2.0, "message_dtype": "float16"}],
    "qg-dsgdm": [{"buffer_decay": 0.5, "clip": 1.0}],
    "relay-sgd": [{"momentum": 0.5, "message_dtype": "float32"}],
    "ad-psgd": [{"clip": 1.0}],
    "choco-sgd": [{"gossip_step": 0.6, "message_dtype": "float16"}],
    "c-ecl": [{"mixing": 1.0}],
}

SECOND_ORDER = {"damping": 0.1, "trust_radius": 0.02, "factor_every": 2, "basis_every": 3}

WHEEL = [[0, 1], [1, 2], [2, 3], [0, 3], [0, 4], [1, 4], [2, 4], [3, 4]]
"""Three neighbors at the rim and four at the hub: one block, where the rim has spare slots."""

CYCLE_WITH_CHORDS = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [2, 0], [0, 3]]
"""Directed: nodes 0 and 2 send to two others."""

TOPOLOGIES: dict[str, dict[str, Any]] = {
    "ring": {"name": "ring", "nodes": 5},
    "star": {"name": "star", "nodes": 5, "weights": "uniform"},
    "path": {"name": "path", "nodes": 4},
    "matching": {"name": "ring", "nodes": 6, "schedule": "matching"},
    "failing": {"name": "edges", "nodes": 5, "edges": WHEEL, "schedule": {"name": "failing", "probability": 0.4}},
    "directed": {"name": "directed-edges", "nodes": 5, "edges": CYCLE_WITH_CHORDS},
    "one-peer": {"name": "directed-one-peer-exponential", "nodes": 5},
    "sequence": {"name": "sequence", "nodes": 5, "graphs": [[[0, 1], [2, 3]], [[1, 2], [1, 4]], [[0, 4], [0, 1]]]},
}

CASES = [(name, options) for name in STRATEGIES for options in VARIANTS.get(name, [{}])]


def options_of(name: str, variant: dict[str, Any]) -> StrategyOptions:
    shared = SECOND_ORDER if STRATEGIES[name][0].second_order else {}
    return parse_strategy({"name": name, "lr": 0.3, **shared, **variant})


def label(case: Any) -> str | None:
    if not isinstance(case, tuple):
        return None
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def is_allowed(options: StrategyOptions, topology: Topology, message_loss: float, local_steps: int) -> bool:
    spec = options.needs
    fits = (topology.is_tree or not spec.tree) and (topology.is_static or not spec.static)
    if topology.is_directed:
        fits &= spec.directed == "any" or (spec.directed == "balanced" and topology.period == 3)  # one peer: balanced
    return fits and not (spec.reliable and message_loss) and not (spec.single_step and local_steps > 1)


def accept(options: StrategyOptions, topology: str, message_loss: float, local_steps: int) -> None:
    """Pass all checks that a run goes through before anything is computed."""
    config = Config(
        strategy=options,
        topology=TOPOLOGIES[topology],
        network={"message_loss": message_loss},
        training={"local_steps": local_steps},
    )
    check_topology(config.strategy, config.topology.build(config.seed))


def assert_same(actual: Tensor, expected: Tensor, relative: float = 1e-12) -> None:
    assert torch.isfinite(expected).all()
    assert (actual - expected).abs().max() <= relative * expected.abs().max()


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize("graph", TOPOLOGIES)
@pytest.mark.parametrize("case", CASES, ids=label)
def test_vectorized_equals_naive_on_quadratics(
    case: tuple[str, dict[str, Any]], graph: str, message_loss: float, local_steps: int
) -> None:
    options, topology = options_of(*case), parse_topology(TOPOLOGIES[graph]).build(seed=0)
    if not is_allowed(options, topology, message_loss, local_steps):
        with pytest.raises(InputError) as refusal:
            accept(options, graph, message_loss, local_steps)
        assert options.name in str(refusal.value) and "\n" not in str(refusal.value)
        return
    accept(options, graph, message_loss, local_steps)
    problem = make_quadratic(10, topology.num_nodes, dim=3)
    settings = {"message_loss": message_loss, "seed": 1, "lr_scale": lambda step: 1 / (1 + 0.1 * step), "start": START}
    engines = [
        quadratic_engine(problem, options, topology, local_steps, engine, **settings)
        for engine in (SynchronousEngine, NaiveNetwork)
    ]
    vectorized, naive = (run_rounds(engine, ROUNDS) for engine in engines)
    assert_same(vectorized, naive)
    assert (naive - naive.mean(0)).norm() > 1e-3  # nodes differ, so that a mixed-up node would be seen


NETWORK_TOPOLOGIES = ("ring", "star", "failing")


@pytest.mark.parametrize("graph", NETWORK_TOPOLOGIES)
@pytest.mark.parametrize("make_problem", [perceptron, convolutional])
@pytest.mark.parametrize("name", STRATEGIES)
def test_vectorized_equals_naive_on_networks(name: str, make_problem: Any, graph: str) -> None:
    topology = parse_topology(TOPOLOGIES[graph]).build(seed=0)
    options = options_of(name, {})
    allowed = itertools.product((0.3, 0.0), (3, 1))
    message_loss, local_steps = next((pair for pair in allowed if is_allowed(options, topology, *pair)), (None, None))
    if local_steps is None:
        pytest.skip(f"{name} does not run on this graph; its refusal is tested above")
    problem = make_problem()
    start = problem.model.start()
    vectorized, naive = (
        run_rounds(
            engine(
                EngineSettings(
                    problem.strategy(options),
                    topology,
                    problem.minibatches,
                    start,
                    local_steps,
                    rounds=4,
                    seed=1,
                    message_loss=message_loss,
                )
            ),
            4,
        )
        for engine in (SynchronousEngine, NaiveNetwork)
    )
    assert_same(vectorized, naive)
    assert (naive - start).norm() > 1e-2


@pytest.mark.parametrize("fisher", ["empirical", "exact", "foof"])
def test_vectorized_equals_naive_for_every_fisher(fisher: str) -> None:
    topology = parse_topology(TOPOLOGIES["star"]).build(seed=0)
    problem = perceptron()
    strategy = problem.strategy(options_of("ngpd", {"fisher": fisher}))
    settings = EngineSettings(strategy, topology, problem.minibatches, problem.model.start(), local_steps=2, rounds=3)
    vectorized, naive = (run_rounds(engine(settings), 3) for engine in (SynchronousEngine, NaiveNetwork))
    assert_same(vectorized, naive)


@pytest.mark.parametrize("graph", ["star", "matching"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_chunks_change_nothing_but_rounding_and_a_run_repeats_bit_for_bit(name: str, graph: str) -> None:
    options, topology = options_of(name, {}), parse_topology(TOPOLOGIES[graph]).build(seed=0)
    allowed = itertools.product((0.3, 0.0), (3, 1))
    pair = next((pair for pair in allowed if is_allowed(options, topology, *pair)), None)
    if pair is None:
        pytest.skip(f"{name} does not run on this graph; its refusal is tested above")
    message_loss, local_steps = pair
    problem = make_quadratic(10, topology.num_nodes, dim=3)

    def run(chunk_size: int | None) -> Tensor:
        settings = {"message_loss": message_loss, "seed": 1, "chunk_size": chunk_size}
        return run_rounds(quadratic_engine(problem, options, topology, local_steps, **settings), ROUNDS)

    whole = run(None)
    assert torch.equal(run(None), whole)
    for chunk_size in (1, 3):
        assert_same(run(chunk_size), whole)
        assert torch.equal(run(chunk_size), run(chunk_size))
