"""The trust region against its definition."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ngpd_fl import Config, run
from strategies.parts.trust_region import TrustRegion, measured, shortened, start_region
from tests.support.float64 import scalar
from tests.support.quadratic import ExactCurvature

CURVATURE = ExactCurvature(0.0, 3)
HESSIAN = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
PARAMS = torch.zeros(3, dtype=torch.float64)


def after(region: Any, scale: float = 1.0) -> TrustRegion:
    """Measure on a minibatch whose Hessian is ``scale`` times H."""
    measured_region = measured(region, CURVATURE, PARAMS, (scale * HESSIAN, PARAMS))
    assert isinstance(measured_region, TrustRegion)
    return measured_region


def test_gamma_is_the_geometric_running_mean_of_what_the_estimate_has_to_be_multiplied_by() -> None:
    region: Any = after(start_region(PARAMS, 0.1))
    assert float(region.ratio) == 0  # there was no step
    change = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64)
    true, gamma = float(change @ HESSIAN @ change), 0.0
    for number, fresh in enumerate([50.0, 8.0, 0.5, 300.0]):
        region, factor = shortened(region, change, scalar(true / fresh), 0.1)
        assert float(factor) == pytest.approx(min(1.0, math.sqrt(0.2 / ((gamma or 1e4) * true / fresh))))
        torch.testing.assert_close(region.step, -factor * change)
        assert float(region.estimate) == pytest.approx(0.5 * float(factor) ** 2 * true / fresh)
        region = after(region)
        gamma = gamma**0.9 * max(fresh, 1) ** 0.1 if number else fresh
        assert float(region.ratio) == pytest.approx(gamma)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_divergence_does_not_count(scale: float) -> None:
    change = torch.ones(3, dtype=torch.float64)
    region, _ = shortened(start_region(PARAMS, 0.1), change, scalar(7.0), 0.1)
    assert float(after(region, scale).ratio) == 0
    known = after(region)
    assert torch.equal(after(known, scale).ratio, known.ratio)


@pytest.mark.parametrize(("scale", "bound"), [(1e30, 1e6), (1e-30, 1.0)])
def test_one_measurement_is_bounded(scale: float, bound: float) -> None:
    region, _ = shortened(start_region(PARAMS, 0.1), torch.ones(3, dtype=torch.float64), scalar(7.0), 0.1)
    known = after(region)
    assert float(after(region, scale).ratio) == pytest.approx(bound)
    assert float(after(known, scale).ratio) == pytest.approx(bound**0.1)


def test_a_step_of_length_0_is_not_shortened() -> None:
    region, factor = shortened(start_region(PARAMS, 0.1), PARAMS, scalar(0.0), 0.1)
    assert float(factor) == 1
    assert float(after(region).ratio) == 0


def test_without_a_radius_nothing_is_measured_nor_kept() -> None:
    region = start_region(PARAMS, 0)
    assert measured(region, CURVATURE, PARAMS, None) == () == region
    assert shortened((), PARAMS, scalar(1e9), 0)[1] == 1


def test_nodes_that_are_sure_of_their_only_label_do_not_run_away() -> None:
    """After many local steps the outputs for a node's own class no longer change, whatever the step."""
    config = Config(
        partition={"name": "classes", "classes_per_node": 1},
        topology={"name": "ring", "nodes": 10},
        model="mlp",
        strategy="ngpd",
        training={"rounds": 5, "local_steps": 94},
        evaluation={"every": 5},
    )
    end = run(config).metrics[-1]
    assert end.consensus_distance is not None and end.consensus_distance < 4  # 11 without the lower bound of gamma
