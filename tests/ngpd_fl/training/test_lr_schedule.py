"""The step size over a run, beside torch's schedulers and in what a run does with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from ngpd_fl.config import Config, TrainingConfig
from ngpd_fl.training.lr_schedule import lr_scale
from ngpd_fl.training.run import run

ROUNDS, LOCAL_STEPS = 12, 5
STEPS = ROUNDS * LOCAL_STEPS


def scales(**values: Any) -> list[float]:
    training = TrainingConfig(rounds=ROUNDS, local_steps=LOCAL_STEPS, **values)
    return [lr_scale(training, step) for step in range(STEPS)]


def of_torch(schedule: str, warmup: int) -> list[float]:
    """The same by torch, which counts local steps and a scheduler's own from where it begins."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    start = warmup * LOCAL_STEPS
    schedulers: list[lr_scheduler.LRScheduler] = []
    if warmup:
        schedulers.append(lr_scheduler.LinearLR(optimizer, start_factor=1 / (start + 1), total_iters=start))
    if schedule == "cosine":
        schedulers.append(lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS - start))
    elif schedule == "step":
        milestones = [each * LOCAL_STEPS - start for each in (6, 9)]
        schedulers.append(lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.3))
    else:
        schedulers.append(lr_scheduler.ConstantLR(optimizer, factor=1.0))
    scheduler = lr_scheduler.SequentialLR(optimizer, schedulers, [start] * (len(schedulers) - 1))
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_the_same_as_torch(schedule: str, warmup: int) -> None:
    values = {"lr_milestones": (6, 9), "lr_decay": 0.3} if schedule == "step" else {}
    ours = scales(lr_schedule=schedule, lr_warmup=warmup, **values)
    assert ours == pytest.approx(of_torch(schedule, warmup), rel=1e-9)
    assert min(ours) > 0  # the last step of the run still moves: nothing is divided by zero
    assert max(ours) == 1


def test_milestones_stay_where_they_are_whatever_the_warm_up() -> None:
    without, with_it = (
        scales(lr_schedule="step", lr_milestones=[6, 9], lr_warmup=warmup)[4 * LOCAL_STEPS :] for warmup in (0, 4)
    )
    assert without == with_it


def test_a_run_takes_its_steps_by_the_schedule() -> None:
    """Without momentum the parameters are linear in the last round's step size, hence in its factor."""

    def params(**training: Any) -> torch.Tensor:
        return run(
            Config(
                topology={"nodes": 3},
                model="softmax",
                strategy={"name": "dsgd", "lr": 0.1, "momentum": 0},
                training={"rounds": 2, "local_steps": 1, **training},
                engine={"dtype": "float64"},
            )
        ).params

    whole = params()
    halved, hardly = (params(lr_schedule="step", lr_milestones=[1], lr_decay=decay) for decay in (0.5, 1e-12))
    assert (whole - hardly).norm() > 1e-3
    torch.testing.assert_close(halved, (whole + hardly) / 2, rtol=1e-9, atol=1e-11)
