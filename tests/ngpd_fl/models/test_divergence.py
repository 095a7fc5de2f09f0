"""The divergence that a step made, of networks of each kind, alone and batched over nodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import vmap

from ngpd_fl.models import Categorical, FlatModel, SupervisedObjective

NETWORKS: dict[str, Any] = {
    "by hand": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)),
    "convolution": lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)),
}


@pytest.mark.parametrize(("size", "used"), [(8, 2), (9, 3), (1, 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_divergence_of_a_step(name: str, size: int, used: int) -> None:
    model = FlatModel(NETWORKS[name]().double())
    objective = SupervisedObjective(model, Categorical())
    params, step = torch.randn(2, 3, model.num_params, dtype=torch.float64)
    inputs, targets = torch.randn(3, size, 1, 3, 4, dtype=torch.float64), torch.randint(3, (3, size))
    found = vmap(objective.divergence)(params, step, (inputs, targets))
    for node in range(3):
        before, after = (model(at, inputs[node, :used]).softmax(1) for at in (params[node] - step[node], params[node]))
        expected = (before * (before / after).log()).sum(1).mean()
        torch.testing.assert_close(found[node], expected.detach())
        alone = objective.divergence(params[node], step[node], (inputs[node], targets[node]))
        torch.testing.assert_close(alone, found[node])
