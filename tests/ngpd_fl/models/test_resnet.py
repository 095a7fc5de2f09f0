"""Residual networks: as in the paper but for the normalization, and fit for K-FAC and for many nodes at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import vmap

from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.curvature import KFAC
from ngpd_fl.models import Categorical, build_model
from ngpd_fl.models.resnet import ResidualBlock, resnet
from strategies import Phase
from strategies.ngpd import NGPDOptions


@pytest.mark.parametrize("depth, num_params", [(8, 75_290), (20, 269_722), (32, 464_154)])
def test_sizes_are_those_of_the_paper(depth: int, num_params: int) -> None:
    """0.27 M and 0.46 M in its table 6; to the last one: weights of convolutions, norms and the linear layer."""
    model = build_model(ModelConfig(name=f"resnet{depth}"), (3, 32, 32), 10, 0, torch.float32)
    n = (depth - 2) // 6
    of_convolutions = 9 * (3 * 16 + 2 * n * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    of_norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert model.num_params == num_params == of_convolutions + of_norms + 65 * 10
    weighted = [part for part in model.module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth


@pytest.mark.parametrize("depth", [2, 9, 21])
def test_other_depths_do_not_exist(depth: int) -> None:
    with pytest.raises(ValueError, match=r"6 n \+ 2"):
        resnet((3, 32, 32), 10, depth)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (2, 7, 5), (3, 33, 32)])
def test_images_of_any_size_fit(shape: tuple[int, ...]) -> None:
    assert resnet(shape, 4, 8)(torch.randn(2, *shape)).shape == (2, 4)


def test_a_shortcut_takes_every_second_pixel_and_pads_with_zeros() -> None:
    block = ResidualBlock(2, 6)
    nn.init.zeros_(block.norm2.weight)  # leaves the shortcut alone
    inputs = torch.rand(3, 2, 5, 4)
    expected = torch.zeros(3, 6, 3, 2)
    expected[:, 2:4] = inputs[:, :, ::2, ::2]
    assert torch.equal(block(inputs), expected)
    straight = ResidualBlock(2, 2)
    nn.init.zeros_(straight.norm2.weight)
    assert torch.equal(straight(inputs), inputs)


def test_a_step_of_nodes_at_once_is_that_of_nodes_one_by_one() -> None:
    model = build_model(ModelConfig(name="resnet8"), (1, 8, 8), 10, 0, torch.float64)
    kfac = KFAC(model, Categorical(), (1, 8, 8), NGPDOptions())
    params = model.start() + 0.01 * torch.randn((2, model.num_params), dtype=torch.float64)
    inputs, labels = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64), torch.randint(10, (2, 3))
    draws = torch.rand(2, 3, dtype=torch.float64)
    lr, shift = torch.tensor([0.1, 1.0], dtype=torch.float64)

    def step(params: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor], draws: torch.Tensor) -> torch.Tensor:
        state, _, gradient = kfac.gradient(kfac.init(params), params, batch, draws, Phase(True, True))
        return kfac.solve(state, gradient, lr, shift)[0]

    together = vmap(step)(params, (inputs, labels), draws)
    for node in range(2):
        torch.testing.assert_close(together[node], step(params[node], (inputs[node], labels[node]), draws[node]))


@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_kfac_takes_every_layer(name: str) -> None:
    model = build_model(ModelConfig(name=name), (3, 8, 8), 10, 0, torch.float32)
    layers = KFAC(model, Categorical(), (3, 8, 8), NGPDOptions()).capture.layers
    places = [place for layer in layers.values() for place in (layer.weight, layer.bias) if place is not None]
    assert sum(place.stop - place.start for place in places) == model.num_params
