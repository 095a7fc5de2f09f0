"""Rounds to a relative error of 1e-6 on the quadratic consensus problem: NGPD beside ECL.

8 nodes on a ring, d = 20, exact curvature (``tests/support/quadratic.py``), in the papers' form (mixing 0) and mixed.
Both methods get the same number of settings, every pair of 6 step sizes and 6 edge penalties around where each does
best; the best is reported. ECL's penalties are factors on ECL-ISVR's choice.
"""

from __future__ import annotations

import itertools

import torch

from strategies import ECLOptions, NGPDOptions, StrategyOptions
from tests.support.quadratic import make_quadratic, quadratic_engine, rounds_to
from topologies import parse_topology

LIMIT = 2000


def settings(name: str, condition: float, mixing: float) -> list[StrategyOptions]:
    """Return the 36 settings of a method; NGPD's penalty follows the curvature's weakest directions."""
    if name == "ngpd":
        rates = [0.5, 0.7, 1.0, 1.4, 2.0, 4.0]
        penalties = [factor / condition**0.5 for factor in (0.25, 0.5, 0.7, 1.0, 1.4, 2.0)]
        exact = {"damping": 0.0, "trust_radius": 0.0, "factor_every": 1, "basis_every": 1, "mixing": mixing}
        return [
            NGPDOptions.model_validate({"lr": lr, "edge_penalty": eta, **exact})
            for lr, eta in itertools.product(rates, penalties)
        ]
    rates = [0.2, 0.4, 0.6, 0.8, 1.2, 2.0]
    scales = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    return [ECLOptions(lr=lr, penalty_scale=c, mixing=mixing) for lr, c in itertools.product(rates, scales)]


def best(name: str, condition: float, local_steps: int, mixing: float) -> str:
    """Return the fewest rounds of a method's settings, and the step size that gave them."""
    problem, topology = make_quadratic(condition), parse_topology("ring").build(0)
    fewest, winner = LIMIT + 1, None
    for options in settings(name, condition, mixing):
        engine = quadratic_engine(problem, options, topology, local_steps)
        rounds = rounds_to(engine, problem, 1e-6, fewest - 1)
        if rounds is not None:
            fewest, winner = rounds, options
    return f"over {LIMIT}" if winner is None else f"{fewest} (lr {winner.lr:g})"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    columns = list(itertools.product((0.0, 1.0), ("ngpd", "ecl")))
    heads = (f"{name}, mixing {mixing:g}" for mixing, name in columns)
    print(f"{'condition':>9}  {'K':>2}  " + "".join(f"{head:<18}" for head in heads))
    for condition, local_steps in itertools.product((10, 100, 1000), (1, 8)):
        cells = (best(name, condition, local_steps, mixing) for mixing, name in columns)
        print(f"{condition:>9}  {local_steps:>2}  " + "".join(f"{cell:<18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
