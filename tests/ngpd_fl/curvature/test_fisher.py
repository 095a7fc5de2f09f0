"""The Fisher matrix where K-FAC is exact, against the dense one, and the Monte-Carlo one against the exact one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from ngpd_fl.models import Categorical, Gaussian
from strategies import Phase
from tests.ngpd_fl.curvature.dense import (
    dense_fisher,
    kfac_matrix,
    layer_places,
    make_batch,
    make_kfac,
    midpoints,
    refreshed,
)

KINDS = ["empirical", "exact"]


def close(given: Tensor, expected: Tensor) -> None:
    assert expected.norm() > 1e-6
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("fisher", KINDS)
@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=["categorical", "gaussian"])
def test_one_linear_layer_with_one_example_is_exact(likelihood: Any, fisher: str, bias: bool) -> None:
    kfac = make_kfac(nn.Linear(4, 3, bias=bias), (4,), likelihood, fisher=fisher)
    batch = make_batch(kfac, 1, (4,))
    close(kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch))


@pytest.mark.parametrize("fisher", KINDS)
def test_one_convolution_with_one_position_and_one_example_is_exact(fisher: str) -> None:
    kfac = make_kfac(nn.Sequential(nn.Conv2d(2, 4, (3, 5)), nn.Flatten()), (2, 3, 5), fisher=fisher)
    batch = make_batch(kfac, 1, (2, 3, 5))
    close(kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_squared_error_on_one_linear_layer_is_exact_for_any_batch(bias: bool) -> None:
    kfac = make_kfac(nn.Linear(4, 3, bias=bias), (4,), Gaussian(), fisher="exact")
    batch = make_batch(kfac, 9, (4,))
    close(kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch))


@pytest.mark.parametrize("smoothing", [0.3, 1.0])
@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=["categorical", "gaussian"])
def test_smoothed_labels_are_a_mixture_with_uniform_ones(likelihood: Any, smoothing: float) -> None:
    kfac = make_kfac(nn.Linear(4, 3), (4,), likelihood, fisher="exact", fisher_smoothing=smoothing)
    batch = make_batch(kfac, 1, (4,))
    close(kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch))


def test_uniform_labels_on_one_linear_layer_are_exact_for_any_batch() -> None:
    """G is the same for every example, (I - 1/C) / C, however sure the model is."""
    kfac = make_kfac(nn.Linear(4, 3), (4,), fisher="exact", fisher_smoothing=1.0)
    batch = make_batch(kfac, 9, (4,))
    given = kfac_matrix(kfac, refreshed(kfac, batch))
    close(given, dense_fisher(kfac, batch))
    surer = kfac.gradient(
        kfac.init(kfac.model.start()), 10 * kfac.model.start(), batch, batch[0][:, 0], Phase(refresh_factors=True)
    )[0]
    close(kfac_matrix(kfac, surer), given)


def test_more_examples_are_not_exact() -> None:
    """The oracle can tell: otherwise the tests above would prove nothing."""
    kfac = make_kfac(nn.Linear(4, 3), (4,), fisher="exact")
    batch = make_batch(kfac, 9, (4,))
    given, expected = kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch)
    assert (given - expected).norm() > 0.05 * expected.norm()


class Tokens(nn.Module):
    """LayerNorm over the last axis of ``[B, T, d]``."""

    def __init__(self, **settings: bool) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.LayerNorm(4, **settings), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(inputs)))).mean(1)


def dense_net(norm: nn.Module) -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Linear(3, 6), norm, nn.Tanh(), nn.Linear(6, 3)), (3,)


def image_net(norm: nn.Module) -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Conv2d(2, 4, 2), norm, nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 2, 3)), (2, 4, 3)


NORMS = {
    "group [B, C]": lambda: dense_net(nn.GroupNorm(2, 6)),
    "group [B, C, H, W]": lambda: image_net(nn.GroupNorm(2, 4, eps=0.3)),
    "instance-like [B, C, H, W]": lambda: image_net(nn.GroupNorm(4, 4)),
    "layer [B, d]": lambda: dense_net(nn.LayerNorm(6, eps=0.3)),
    "layer [B, T, d]": lambda: (Tokens(), (5, 3)),
    "layer [B, T, d] without bias": lambda: (Tokens(bias=False), (5, 3)),
    "layer over C, H, W": lambda: image_net(nn.LayerNorm((4, 3, 2))),
    "layer over H, W": lambda: image_net(nn.LayerNorm((3, 2))),
    "layer over W": lambda: image_net(nn.LayerNorm(2, bias=False)),
    "rms [B, d]": lambda: dense_net(nn.RMSNorm(6, eps=0.3)),
    "rms over H, W": lambda: image_net(nn.RMSNorm((3, 2))),
    "instance [B, C, H, W]": lambda: image_net(nn.InstanceNorm2d(4, affine=True)),
    "PReLU": lambda: image_net(nn.PReLU()),
    "PReLU of channels": lambda: image_net(nn.PReLU(4)),
}


@pytest.mark.parametrize("fisher", KINDS)
@pytest.mark.parametrize("name", NORMS)
def test_a_normalization_has_the_diagonal_of_the_dense_fisher_matrix(name: str, fisher: str) -> None:
    net, input_shape = NORMS[name]()
    kfac = make_kfac(net, input_shape, fisher=fisher)
    kinds = nn.GroupNorm | nn.LayerNorm | nn.RMSNorm | nn.InstanceNorm2d | nn.PReLU
    layer = next(key for key, module in net.named_modules() if isinstance(module, kinds))
    batch = make_batch(kfac, 5, input_shape)
    expected = dense_fisher(kfac, batch).diagonal()[layer_places(net, layer)]
    close(refreshed(kfac, batch).blocks[layer].values, expected)


def small_net() -> tuple[nn.Module, tuple[int, ...]]:
    net = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.GroupNorm(3, 3), nn.Tanh(), nn.Flatten(), nn.LayerNorm(12), nn.Linear(12, 4)
    )
    return net, (1, 3, 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_sampled_labels_weighted_by_their_probability_give_the_exact_matrix(smoothing: float) -> None:
    """One example, one draw from the middle of each label's interval: the expectation is a finite sum."""
    net, input_shape = small_net()
    exact, sampled = (
        make_kfac(net, input_shape, fisher=kind, fisher_smoothing=smoothing) for kind in ("exact", "monte-carlo")
    )
    batch = make_batch(exact, 1, input_shape)
    probabilities = (1 - smoothing) * net(batch[0])[0].softmax(0).detach() + smoothing / 4
    parts = [kfac_matrix(sampled, refreshed(sampled, batch, draw[None])) for draw in midpoints(probabilities)]
    mean = torch.stack([p * part for p, part in zip(probabilities, parts, strict=True)]).sum(0)
    close(mean, kfac_matrix(exact, refreshed(exact, batch)))
    assert all((part - mean).norm() > 0.1 * mean.norm() for part in parts)


def test_the_data_labels_do_not_enter_the_sampled_or_exact_matrix() -> None:
    net, input_shape = small_net()
    for kind in ("exact", "monte-carlo", "empirical"):
        kfac = make_kfac(net, input_shape, fisher=kind)
        inputs, targets = make_batch(kfac, 5, input_shape)
        one, other = (kfac_matrix(kfac, refreshed(kfac, (inputs, labels))) for labels in (targets, (targets + 1) % 4))
        assert torch.equal(one, other) is (kind != "empirical")


def test_the_mean_over_uniform_draws_is_the_exact_matrix_within_its_standard_error() -> None:
    net, input_shape = small_net()
    exact, sampled = (make_kfac(net, input_shape, fisher=kind) for kind in ("exact", "monte-carlo"))
    batch = make_batch(exact, 4, input_shape)
    uniform = torch.rand((3000, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = sampled.model.start()

    def sample(draws: Tensor) -> dict[str, Tensor]:
        state = sampled.gradient(sampled.init(start), start, batch, draws, Phase(refresh_factors=True))[0]
        return {name: getattr(block, "running", block[1]) for name, block in state.blocks.items()}

    for name, samples in vmap(sample)(uniform).items():
        block = refreshed(exact, batch).blocks[name]
        expected = getattr(block, "running", block[1])
        mean, error = samples.mean(0), samples.std(0) / len(samples) ** 0.5
        assert error.max() < 0.05 * expected.abs().max()
        assert ((mean - expected).abs() < 4.5 * error + 1e-12).all()


def test_stratified_draws_give_the_exact_gaussian_matrix() -> None:
    """Normal scores on a product grid of quantiles: their second moment tends to I, and G to its exact value."""
    exact, sampled = (make_kfac(nn.Linear(3, 2), (3,), Gaussian(), fisher=kind) for kind in ("exact", "monte-carlo"))
    inputs, targets = make_batch(exact, 1, (3,))
    grid = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    draws = torch.cartesian_prod(grid, grid)
    many = (inputs.expand(len(draws), -1), targets.expand(len(draws), -1))
    given, expected = kfac_matrix(sampled, refreshed(sampled, many, draws)), kfac_matrix(exact, refreshed(exact, many))
    assert (given - expected).norm() < 0.02 * expected.norm()
