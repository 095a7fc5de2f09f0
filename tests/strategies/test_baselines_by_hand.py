"""Two rounds of every first-order baseline, number by number: f_i(w) = 1/2 (w - b_i)^2, path 0 - 1 - 2, all at w = 1.

b = 3, 0, -1 and mu = 1/2, so that a plain step is w <- (w + b) / 2: to 2, 1/2, 0, and to 5/2, 1/4, -1/2 with two. The
Metropolis weights W are 1/3 on both edges, 2/3 at the ends; (I + W) / 2 has 1/6 on the edges and 5/6 at the ends.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ngpd_fl.engines import SynchronousEngine
from strategies import parse_strategy
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import Quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

Values = tuple[float, float, float]

PROBLEM = Quadratic(torch.ones(3, 1, 1, dtype=torch.float64), torch.tensor([[3.0], [0.0], [-1.0]], dtype=torch.float64))
HALF = {"momentum": 0.5}
SIGN = {"beta1": 0, "beta2": 0, "epsilon": 1}


def network(name: str, local_steps: int = 1, engine: Any = NaiveNetwork, **options: Any) -> Any:
    path = parse_topology({"name": "path", "nodes": 3}).build(seed=0)
    strategy = parse_strategy({"name": name, "lr": 0.5, **options})
    start = torch.ones(1, dtype=torch.float64)
    return quadratic_engine(PROBLEM, strategy, path, local_steps, engine, start=start)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize(
    ("name", "options", "local_steps", "first", "second"),
    [
        # psi = 2, 1/2, 0 and w = 7/4, 2/3, 1/12; psi = 19/8, 1/3, -11/24, phi = 17/8, 1/2, -3/8.
        ("d2", {}, 1, (7 / 4, 2 / 3, 1 / 12), (89 / 48, 5 / 8, -11 / 48)),
        ("exact-diffusion", {}, 1, (7 / 4, 2 / 3, 1 / 12), (89 / 48, 5 / 8, -11 / 48)),
        # c = 3/16, -1/8, -1/16; phi = 19/8, 3/8, -5/8 and then 5/2, 5/16, -3/4.
        ("exact-diffusion", {}, 2, (17 / 8, 1 / 2, -3 / 8), (205 / 96, 1 / 2, -55 / 96)),
        # z = g = -2, 1, 2 and c = 1, -2/3, -1/3; g = -3/2, 5/6, 7/6, z = -1/2, 1/6, 5/6.
        ("gradient-tracking", {}, 1, (3 / 2, 5 / 6, 1 / 6), (17 / 12, 3 / 4, 1 / 12)),
        # z = -3/2, 3/4, 3/2 and c = 3/4, -1/2, -1/4; w = 2, 5/8, -1/2 and then 17/8, 9/16, -5/8.
        ("gradient-tracking", {}, 2, (7 / 4, 3 / 4, -1 / 4), (77 / 48, 11 / 16, -11 / 48)),
        # As gradient tracking; then u = -5/2, 4/3, 13/6 and z = -3/2, 2/3, 11/6.
        ("momentum-tracking", HALF, 1, (3 / 2, 5 / 6, 1 / 6), (5 / 3, 2 / 3, -1 / 3)),
        # m^ = -1/2, 1/6, 5/6 and m = -7/4, 11/12, 19/12.
        ("qg-dsgdm", {**HALF, "nesterov": False}, 1, (3 / 2, 5 / 6, 1 / 6), (41 / 24, 17 / 24, -7 / 24)),
        # Steps of 3/2 g; m^ = -3/4, 1/4, 5/4, m = -13/8, 7/8, 11/8, steps of -33/16, 19/16, 23/16.
        ("qg-dsgdm", HALF, 1, (7 / 4, 3 / 4, -1 / 4), (61 / 32, 21 / 32, -19 / 32)),
        # m^ = -9/16, 3/16, 15/16; w = 161/64, 21/64, -55/64 and then 371/128, 15/128, -149/128.
        (
            "qg-dsgdm",
            {**HALF, "nesterov": False, "buffer_decay": 0.25},
            2,
            (7 / 4, 3 / 4, -1 / 4),
            (757 / 384, 79 / 128, -283 / 384),
        ),
        # c = 1/2, -1/3, -1/6 and g = -3/2, 5/6, 7/6; x = 2, 7/12, -1/3.
        ("gut", {"scaling": 0.5}, 1, (3 / 2, 5 / 6, 1 / 6), (55 / 36, 3 / 4, -1 / 36)),
        # m^ = -1/2, 1/6, 5/6 and directions -5/4, 7/12, 17/12; x = 17/8, 13/24, -13/24.
        ("gut", {**HALF, "scaling": 0.5}, 1, (3 / 2, 5 / 6, 1 / 6), (115 / 72, 17 / 24, -13 / 72)),
        # Steps along y / (|y| + 1); y = -2, 1, 2, c = 1, -2/3, -1/3 and y = -2/3, 1/12, 4/3; W w = 41/36, 11/12, 25/36.
        ("gtadam", SIGN, 1, (4 / 3, 3 / 4, 2 / 3), (41 / 36 + 1 / 5, 11 / 12 - 1 / 26, 25 / 36 - 2 / 7)),
        # eta = 1; z_0|1, z_1|0, z_1|2, z_2|1 = 1/2, -2, 0, -1/2 pull by 3/2, -1, -1/2; g = -1, 1/2, 1.
        ("lt-admm", {}, 1, (2, 1 / 2, 0), (7 / 4, 3 / 4, -1 / 4)),
        # p = 7/24, -1/4, -1/24, and 2 p is the force of the edges; with g it is -13/12, 1/4, 19/12.
        ("dinno", SIGN, 1, (4 / 3, 3 / 4, 2 / 3), (4 / 3 + 13 / 50, 3 / 4 - 1 / 10, 2 / 3 - 19 / 62)),
        # Neighbors' average; then w = 17/8, 5/12, -3/8, and 1 relays 0 to 0 and 2 to 2, which were sent before.
        ("relay-sgd", {}, 1, (5 / 4, 5 / 6, 1 / 4), (61 / 72, 13 / 18, 49 / 72)),
        # v = -2, 1, 2; then g = -7/4, 5/6, 5/4, v = -11/4, 4/3, 9/4, w = 21/8, 1/6, -7/8.
        ("relay-sgd", HALF, 1, (5 / 4, 5 / 6, 1 / 4), (67 / 72, 23 / 36, 31 / 72)),
        # All have w = 1 to average; then W w = 3/2, 5/6, 1/6 and the steps are 1/2, -1/4, -1/2.
        ("ad-psgd", {}, 1, (2, 1 / 2, 0), (2, 7 / 12, -1 / 3)),
        # W w = 7/4, 3/4, -1/4 and the steps together 3/8, -3/16, -3/8.
        ("ad-psgd", {}, 2, (5 / 2, 1 / 4, -1 / 2), (17 / 8, 9 / 16, -5 / 8)),
    ],
)
def test_two_rounds(
    name: str, options: dict[str, Any], local_steps: int, first: Values, second: Values, engine: Any
) -> None:
    run = network(name, local_steps, engine, **options)
    for expected in (first, second):
        assert run_rounds(run, 1).flatten().tolist() == pytest.approx(expected, abs=1e-14)


def test_a_lost_message_is_neither_averaged_nor_relayed() -> None:
    """0 -> 1 is lost in round 1: node 1 averages two of three, and tells 2 of itself alone in round 2."""

    class Losing(NaiveNetwork):
        def arrives(self) -> set[tuple[int, int]]:
            return self.sends() - ({(0, 1)} if self.round == 0 else set())

    run = network("relay-sgd", engine=Losing)
    assert run_rounds(run, 1).flatten().tolist() == pytest.approx([5 / 4, 1 / 4, 1 / 4])
    # Local steps to 17/8, 1/8, -3/8: 0 hears of all, 1 as well, 2 of 1 and itself.
    assert run_rounds(run, 1).flatten().tolist() == pytest.approx([3 / 4, 5 / 8, -1 / 8])
    assert run.states[2].heard.nodes.tolist() == [[1.0]] and run.states[0].heard.nodes.tolist() == [[2.0]]


def test_relayed_means_are_as_long_as_a_nodes_own_parameters() -> None:
    """On a star of 300 nodes that agree, what travels is what they agree on: no sum to overflow or to round."""
    problem = Quadratic(torch.zeros(300, 2, 2), torch.zeros(300, 2))
    star = parse_topology({"name": "star", "nodes": 300}).build(seed=0)
    start = torch.tensor([300.0, 0.1]).half().float()
    options = parse_strategy({"name": "relay-sgd", "message_dtype": "float16"})
    engine = quadratic_engine(problem, options, star, start=start)
    torch.testing.assert_close(run_rounds(engine, 5), start.expand(300, -1))
