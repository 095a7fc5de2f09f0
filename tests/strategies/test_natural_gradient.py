"""The damped solve against dense solves, and the share of delta that it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from strategies import KFACGossipOptions, NGPDOptions
from strategies.contract import Step
from strategies.parts.natural_gradient import damped_solve
from tests.support.float64 import scalar
from tests.support.quadratic import ExactCurvature

FORCE = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def solve(options: Any, largest: float, share: float, *, lr_scale: float = 1.0, shift: float = 0.4) -> Any:
    """Return what ``damped_solve`` returns, F, and mu, for an F with this largest eigenvalue."""
    fisher = torch.diag(torch.tensor([largest, largest / 2, 0.0], dtype=torch.float64))
    step = Step(None, torch.empty(0), scalar(lr_scale))
    curvature = ExactCurvature(options.delta, 3)
    return damped_solve(options, curvature, fisher, FORCE, step, scalar(share), shift), fisher, options.lr * lr_scale


@pytest.mark.parametrize("options", [NGPDOptions, KFACGossipOptions])
@pytest.mark.parametrize(
    ("largest", "share", "used"),
    [
        (50.0, 0.1, 1.0),
        (20.0, 0.1, 1.0),
        (5.0, 0.1, 0.25),
        (5.0, 0.6, 0.6),
        (5.0, 1.0, 1.0),
        (1e-3, 1e-6, 0.01),
        (0.0, 1e-6, 0.01),
    ],
    ids=lambda value: f"{value:g}" if isinstance(value, float) else "",
)
def test_automatic_damping_falls_to_a_thousandth_of_the_largest_eigenvalue(
    options: Any, largest: float, share: float, used: float
) -> None:
    (change, quadratic, _), fisher, lr = solve(options(lr=0.1), largest, share)
    matrix = (fisher + used * 0.02 * torch.eye(3, dtype=torch.float64)) / lr + 0.4 * torch.eye(3)
    expected = torch.linalg.solve(matrix, FORCE)
    torch.testing.assert_close(change, expected)
    torch.testing.assert_close(quadratic, expected @ fisher @ expected)


def test_share_falls_while_steps_stay_far_within_the_trust_region() -> None:
    _, quadratic, _ = solve(NGPDOptions(lr=0.1), 5.0, 0.6)[0]
    limit = float(quadratic / 2 / 0.05)
    shares = [float(solve(NGPDOptions(lr=0.1, trust_radius=limit * of), 5.0, 0.6)[0][2]) for of in (1.001, 0.999)]
    assert shares == pytest.approx([0.6 * 0.9, 0.6 / 0.9])
    assert float(solve(NGPDOptions(lr=0.1, trust_radius=1e-9), 5.0, 0.95)[0][2]) == 1.0


@pytest.mark.parametrize("lr_scale", [1e-3, 1e-9])
def test_small_steps_at_the_end_of_a_schedule_do_not_lower_the_damping(lr_scale: float) -> None:
    (_, quadratic, share), _, _ = solve(NGPDOptions(lr=0.1, trust_radius=0.02), 5.0, 0.6, lr_scale=lr_scale)
    assert quadratic < 2 * 0.05 * 0.02  # the step itself is far within the region
    assert float(share) == pytest.approx(0.6 / 0.9)


@pytest.mark.parametrize(
    "given", [{"damping": 0.3}, {"trust_radius": 0}, {"fisher": "foof"}], ids=lambda given: next(iter(given))
)
def test_what_is_given_is_not_adapted(given: dict[str, Any]) -> None:
    options = NGPDOptions(lr=0.1, **given)
    (change, _, share), fisher, lr = solve(options, 5.0, 1.0)
    matrix = (fisher + options.delta * torch.eye(3, dtype=torch.float64)) / lr + 0.4 * torch.eye(3)
    torch.testing.assert_close(change, torch.linalg.solve(matrix, FORCE))
    assert float(share) == 1
