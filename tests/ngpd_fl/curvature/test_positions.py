"""Outputs and targets at each position of an example: the loss is the mean over examples and positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from ngpd_fl.curvature import KFAC
from ngpd_fl.models import Categorical
from tests.ngpd_fl.curvature.dense import BOTH, kfac_matrix, make_kfac, output_jacobians, parameter_places


class PerPosition(Categorical):
    """Labels ``[B, T]`` of outputs ``[B, T, C]``."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


class Mixing(nn.Module):
    """Outputs of which each depends on all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.norm(torch.tanh(self.first(inputs)))
        return self.head(torch.tanh((values @ values.mT).softmax(-1) @ values))


def batch_of(size: int, time: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(size, time, 3, generator=generator, dtype=torch.float64)
    draws = torch.rand(size, time, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (size, time), generator=generator), draws


@pytest.mark.parametrize("fisher", ["monte-carlo", "empirical", "exact"])
def test_positions_that_do_not_mix_are_examples(fisher: str) -> None:
    inputs, targets, draws = batch_of(4, 5)
    matrices = []
    for flat in (False, True):
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
        kfac = make_kfac(net, (3,) if flat else (5, 3), PerPosition(), fisher=fisher)
        given = [tensor.flatten(0, 1) if flat else tensor for tensor in (inputs, targets, draws)]
        state, loss, _ = kfac.gradient(
            kfac.init(kfac.model.start()), kfac.model.start(), tuple(given[:2]), given[2], BOTH
        )
        matrices.append(kfac_matrix(kfac, state))
    torch.testing.assert_close(*matrices, rtol=1e-10, atol=1e-13)


def test_a_normalization_has_the_diagonal_of_the_mean_over_examples_and_positions() -> None:
    kfac = make_kfac(Mixing(), (3, 3), PerPosition(), fisher="exact")
    inputs, targets, draws = batch_of(2, 3)
    state = kfac.gradient(kfac.init(kfac.model.start()), kfac.model.start(), (inputs, targets), draws, BOTH)[0]
    net = kfac.model.module
    jacobians = output_jacobians(nn.Sequential(net, nn.Flatten()), inputs).unflatten(1, (3, 3))
    total = torch.zeros(jacobians.shape[-1], dtype=torch.float64)
    for of_example, outputs in zip(jacobians, net(inputs).detach().softmax(-1), strict=True):
        for jacobian, probabilities in zip(of_example, outputs, strict=True):
            inner = torch.diag(probabilities) - torch.outer(probabilities, probabilities)
            total += (jacobian.T @ inner @ jacobian).diagonal() / 6
    places = parameter_places(net)
    expected = torch.cat([total[places["norm.weight"]], total[places["norm.bias"]]])
    torch.testing.assert_close(state.blocks["norm"].values, expected, rtol=1e-10, atol=1e-13)


def test_nodes_at_once_are_nodes_one_by_one() -> None:
    kfac: KFAC = make_kfac(Mixing(), (3, 3), PerPosition(), fisher="exact")
    inputs, targets, draws = batch_of(2, 3)
    params = torch.stack([kfac.model.start(), 0.5 * kfac.model.start()])
    running = [
        torch.zeros_like(average)
        for block in kfac.init(kfac.model.start()).blocks.values()
        for average in block.averages
    ]

    def averages(params: Tensor) -> tuple[Tensor, ...]:
        none = torch.zeros((), dtype=torch.float64)
        return kfac._average(none, none, params, inputs, targets, draws, *running)

    together, alone = vmap(averages)(params), [averages(each) for each in params]
    for node in range(2):
        torch.testing.assert_close([part[node] for part in together], list(alone[node]), rtol=1e-10, atol=1e-14)
