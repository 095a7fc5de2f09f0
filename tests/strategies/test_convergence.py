"""NGPD reaches the exact minimizer of the quadratic problem, in a bounded number of rounds, whatever the network does.

With mu = 1, no damping and F_i = H_i a local step lands on the exact minimizer of f_i plus its edges' terms, so that
only eta is left to choose: it goes with 1 / sqrt(condition). Bounds are the rounds that were measured and a tenth more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest

from strategies import ECLOptions, StrategyOptions
from tests.support.quadratic import Quadratic, make_quadratic, quadratic_engine, rounds_to, undamped
from topologies import parse_topology

MATCHINGS = [[[0, 1], [2, 3], [4, 5], [6, 7]], [[1, 2], [3, 4], [5, 6], [0, 7]]]
NETWORKS: dict[str, dict[str, Any]] = {
    "ring": {"name": "ring", "nodes": 8},
    "path": {"name": "path", "nodes": 8},
    "star": {"name": "star", "nodes": 8},
    "two matchings": {"name": "sequence", "nodes": 8, "graphs": MATCHINGS},
    "random matchings": {"name": "ring", "nodes": 8, "schedule": "matching"},
}


def rounds_needed(condition: float, network: str, factor: float, limit: int, loss: float = 0.0, **options: Any) -> Any:
    problem, topology = make_quadratic(condition), parse_topology(NETWORKS[network]).build(seed=0)
    strategy = undamped(lr=1.0, edge_penalty=factor / math.sqrt(condition), **options)
    return rounds_to(quadratic_engine(problem, strategy, topology, message_loss=loss), problem, 1e-6, limit)


@pytest.mark.parametrize("mixing", [0.0, 1.0])
@pytest.mark.parametrize(
    ("condition", "theta", "factor", "bound"),
    [
        (10, 1.0, 1.0, 97),
        (10, 0.5, 1.5, 130),
        (100, 1.0, 1.0, 245),
        (100, 0.5, 1.5, 335),
        (1000, 1.0, 1.0, 705),
        pytest.param(1000, 0.5, 2.0, 725, marks=pytest.mark.slow),
    ],
)
def test_ngpd_reaches_the_minimizer_on_a_ring(
    condition: float, theta: float, factor: float, bound: int, mixing: float
) -> None:
    assert rounds_needed(condition, "ring", factor, bound, theta=theta, mixing=mixing) is not None


@pytest.mark.parametrize("mixing", [0.0, 1.0])
@pytest.mark.parametrize(
    ("network", "loss", "theta", "factor", "bound"),
    [
        ("path", 0.0, 1.0, 2.5, 145),
        ("path", 0.0, 0.5, 3.0, 225),
        ("star", 0.0, 1.0, 1.0, 83),
        ("star", 0.0, 0.5, 1.5, 115),
        ("two matchings", 0.0, 1.0, 1.5, 121),
        ("two matchings", 0.0, 0.5, 2.0, 212),
        ("random matchings", 0.0, 1.0, 1.2, 187),
        ("random matchings", 0.0, 0.5, 2.0, 317),
        ("ring", 0.3, 1.0, 1.1, 118),
        ("ring", 0.3, 0.5, 1.5, 181),
    ],
)
def test_ngpd_reaches_the_minimizer_on_other_networks(
    network: str, loss: float, theta: float, factor: float, bound: int, mixing: float
) -> None:
    assert rounds_needed(10, network, factor, bound, loss, theta=theta, mixing=mixing) is not None


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [0.0, 1.0])
@pytest.mark.parametrize(
    ("network", "loss", "factor", "bound"),
    [
        ("path", 0.0, 2.5, 388),
        ("star", 0.0, 1.0, 211),
        ("two matchings", 0.0, 1.5, 296),
        ("random matchings", 0.0, 1.5, 377),
        ("ring", 0.3, 1.5, 262),
    ],
)
def test_ngpd_reaches_the_minimizer_at_condition_100(
    network: str, loss: float, factor: float, bound: int, mixing: float
) -> None:
    assert rounds_needed(100, network, factor, bound, loss, mixing=mixing) is not None


def best(problem: Quadratic, settings: Iterable[StrategyOptions], limit: int, local_steps: int = 1) -> int | None:
    """Fewest rounds over the settings to a relative error of 1e-6; None if none makes it within ``limit``."""
    topology, fewest = parse_topology(NETWORKS["ring"]).build(seed=0), None
    for options in settings:
        engine = quadratic_engine(problem, options, topology, local_steps)
        needed = rounds_to(engine, problem, 1e-6, limit)
        if needed is not None:
            fewest, limit = needed, needed - 1
    return fewest


def grid(method: Any, rates: Iterable[float], penalties: Iterable[float]) -> list[StrategyOptions]:
    """Both methods as published, without mixing. eta = 1 / (2 mu) would be ECL-ISVR's own on a ring at K = 1."""
    return [method(lr=lr, edge_penalty=eta, mixing=0.0) for lr, eta in itertools.product(rates, penalties)]


@pytest.mark.parametrize(
    ("seed", "rates", "penalties"),
    [
        (0, (1.0, 1.3), (0.17,)),
        *(
            pytest.param(seed, (0.7, 1.0, 1.3, 1.6), (0.11, 0.15, 0.2, 0.27, 0.36), marks=pytest.mark.slow)
            for seed in (0, 1, 2)
        ),
    ],
)
def test_ngpd_needs_at_most_a_third_of_the_rounds_of_ecl(
    seed: int, rates: tuple[float, ...], penalties: tuple[float, ...]
) -> None:
    problem = make_quadratic(100, seed=seed)
    penalties_of_ngpd = [0.6 * eta for eta in penalties]
    ours = best(problem, grid(undamped, rates, penalties_of_ngpd), limit=400)
    assert ours is not None
    assert best(problem, grid(ECLOptions, rates, penalties), limit=3 * ours - 1) is None


@pytest.mark.parametrize("mixing", [0.0, 1.0])
@pytest.mark.parametrize(
    ("condition", "lr", "eta", "bound"),
    [(10, 1.0, 0.3, 160), pytest.param(100, 1.3, 0.2, 925, marks=pytest.mark.slow)],
)
def test_ecl_reaches_the_minimizer_too(condition: float, lr: float, eta: float, bound: int, mixing: float) -> None:
    problem, topology = make_quadratic(condition), parse_topology(NETWORKS["ring"]).build(seed=0)
    engine = quadratic_engine(problem, ECLOptions(lr=lr, edge_penalty=eta, mixing=mixing), topology)
    assert rounds_to(engine, problem, 1e-6, bound) is not None


@pytest.mark.slow
def test_with_many_local_steps_ecl_catches_up() -> None:
    """What is true and not in NGPD's favor: at K = 8 both need about the same number of rounds here."""
    problem = make_quadratic(100)
    ours = best(problem, grid(undamped, (0.6, 1.0), (0.08, 0.1, 0.12)), 400, local_steps=8)
    theirs = best(problem, grid(ECLOptions, (0.5, 0.8), (0.06, 0.1)), 400, local_steps=8)
    assert ours is not None and theirs is not None
    print(f"K = 8, condition 100: NGPD {ours} rounds, ECL {theirs}")
    assert 0.8 * theirs < ours < 1.25 * theirs
