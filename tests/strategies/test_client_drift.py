"""Client drift: its running means, and the share of uniform labels that follows it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from strategies import NGPDOptions, NGPDTrackingOptions
from strategies.parts.client_drift import after_exchange, after_step, amount, start_drift


def drift_of(rounds: list[list[float]]) -> Tensor:
    """Return the drift after rounds of minibatch losses."""
    drift = start_drift(torch.zeros(3, dtype=torch.float64))
    for losses in rounds:
        for loss in losses:
            drift = after_step(drift, torch.tensor(loss, dtype=torch.float64))
        drift = after_exchange(drift)
    return amount(drift)


def test_it_is_the_share_of_the_loss_that_local_steps_remove() -> None:
    assert drift_of([[2.0, 1.0, 0.5]]).item() == pytest.approx(0.75)


def test_means_run_over_the_rounds() -> None:
    first = 0.9 * (0.9 * 2.0 + 0.1 * 1.0) + 0.1 * 3.0
    last = 0.9 * (0.9 * 0.5 + 0.1 * 0.2) + 0.1 * 0.3
    assert drift_of([[2.0, 1.0, 0.5], [1.0, 9.0, 0.2], [3.0, 9.0, 0.3]]).item() == pytest.approx(1 - last / first)


def test_one_local_step_does_not_drift() -> None:
    assert drift_of([[2.0], [0.3], [1.7]]).item() == 0.0


@pytest.mark.parametrize("rounds", [[], [[0.0, 0.0]], [[0.5, 2.0]]], ids=["none yet", "no loss", "a loss that rises"])
def test_it_is_never_negative_nor_undefined(rounds: list[list[float]]) -> None:
    assert drift_of(rounds).item() == 0.0


def test_the_share_of_uniform_labels_is_its_square_unless_it_is_given() -> None:
    drift = after_exchange(after_step(after_step(start_drift(torch.zeros(2)), torch.tensor(2.0)), torch.tensor(0.5)))
    assert NGPDOptions().smoothing(drift).item() == pytest.approx(0.75**2)
    assert NGPDTrackingOptions(fisher_smoothing=0.3).smoothing(drift).item() == pytest.approx(0.3)
    assert NGPDOptions(fisher_smoothing=0.3).smoothing(drift).item() == pytest.approx(0.3)
    assert NGPDOptions(fisher_smoothing=0.0).smoothing(drift).item() == 0.0


def test_with_tracking_it_is_more_and_all_at_the_start() -> None:
    start = start_drift(torch.zeros(2))
    options, first = NGPDTrackingOptions(), torch.tensor(2.0)
    assert options.smoothing(start).item() == 1
    for rounds, last, share in ((1, 0.9, 1.0), (1, 1.6, 0.9), (20, 1.6, 0.4**2), (20, 2.0, 0.9**20)):
        drift = start._replace(first=first, last=torch.tensor(last), rounds=torch.tensor(float(rounds)))
        assert options.smoothing(drift).item() == pytest.approx(share)
