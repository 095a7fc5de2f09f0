"""The rule of each kind of layer, against its definition: factors of vectors that differentiation finds.

A layer with a weight matrix is linear in its weight, so that the Jacobian of its output at one position has in it the
vector that the weight multiplies there, however the layer computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional as F

from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.blocks import Diagonal, Kronecker, TokenKronecker
from tests.ngpd_fl.curvature.dense import (
    dense_fisher,
    kfac_matrix,
    make_batch,
    make_kfac,
    matrix_places,
    refreshed,
)
from tests.support.float64 import scalar

LAYERS: dict[str, tuple[Callable[[bool], nn.Module], tuple[int, ...]]] = {
    "Linear over time": (lambda bias: nn.Linear(3, 4, bias), (5, 3)),
    "Linear over an image": (lambda bias: nn.Linear(3, 4, bias), (2, 3, 3)),
    "Conv1d": (lambda bias: nn.Conv1d(2, 3, 3, stride=2, padding=1, bias=bias), (2, 7)),
    "Conv1d dilated, same": (lambda bias: nn.Conv1d(2, 3, 3, dilation=2, padding="same", bias=bias), (2, 6)),
    "Conv1d grouped": (lambda bias: nn.Conv1d(4, 6, 3, groups=2, bias=bias), (4, 5)),
    "Conv2d circular": (lambda bias: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", bias=bias), (2, 3, 4)),
    "Conv2d reflect": (lambda bias: nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect", bias=bias), (2, 4, 3)),
    "Conv2d replicate, same": (
        lambda bias: nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode="replicate", bias=bias), (2, 3, 4)
    ),
    "Conv2d grouped": (lambda bias: nn.Conv2d(4, 6, (2, 3), groups=2, stride=(1, 2), padding=1, bias=bias), (4, 3, 4)),
    "Conv2d depthwise": (lambda bias: nn.Conv2d(3, 3, 3, groups=3, padding=1, bias=bias), (3, 4, 3)),
    "Conv2d depthwise, more outputs": (lambda bias: nn.Conv2d(3, 6, 2, groups=3, bias=bias), (3, 3, 3)),
    "Conv3d": (lambda bias: nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0), bias=bias), (2, 3, 3, 2)),
    "Conv3d grouped": (lambda bias: nn.Conv3d(2, 4, 2, groups=2, bias=bias), (2, 2, 3, 2)),
    "ConvTranspose1d": (
        lambda bias: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1, bias=bias), (2, 4)
    ),
    "ConvTranspose1d cropped": (lambda bias: nn.ConvTranspose1d(2, 3, 2, stride=2, padding=2, bias=bias), (2, 5)),
    "ConvTranspose2d": (
        lambda bias: nn.ConvTranspose2d(2, 3, (3, 2), (2, 1), dilation=(1, 2), padding=(1, 0), bias=bias), (2, 3, 2)
    ),
    "ConvTranspose2d grouped": (lambda bias: nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=bias), (4, 2, 2)),
    "ConvTranspose3d": (lambda bias: nn.ConvTranspose3d(1, 2, 2, stride=(1, 2, 1), bias=bias), (1, 2, 2, 1)),
}  # fmt: skip


def vectors(kfac: KFAC, batch: tuple[Tensor, Tensor], channels_last: bool) -> tuple[Tensor, Tensor]:
    """Return a ``[groups, B, positions, d_in]`` and g ``[groups, B, positions, d_out]`` of the first layer."""
    layer, rest = kfac.model.module[0], kfac.model.module[1:]
    own = {name: value.detach() for name, value in layer.named_parameters()}
    places = matrix_places(kfac, kfac.capture.layers["0"])  # the layer's parameters come first
    groups, d_out, _ = places.shape

    def by_channel(values: Tensor) -> Tensor:  # [channels, ...] or [..., channels] -> [groups, d_out, positions]
        values = values.movedim(-1, 0) if channels_last else values
        return values.reshape(groups, d_out, -1)

    def of_example(example: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        by_name = jacrev(lambda values: functional_call(layer, values, (example[None],))[0])(own)
        size = layer(example[None])[0].dim()
        jacobian = torch.cat([part.flatten(size) for part in by_name.values()], dim=-1)  # [*output, parameters]
        jacobian = jacobian.movedim(size - 1, 0) if channels_last else jacobian
        jacobian = jacobian.reshape(groups, d_out, -1, jacobian.shape[-1])
        indices = places[:, :, None, :].expand(-1, -1, jacobian.shape[2], -1)
        per_channel = jacobian.gather(3, indices)  # [groups, d_out, positions, d_in]
        output = layer(example[None]).detach()
        gradient = grad(lambda value: F.cross_entropy(rest(value), target[None]))(output)[0]
        assert torch.equal(per_channel, per_channel[:, :1].expand_as(per_channel))  # all channels see the same vector
        return per_channel[:, 0], by_channel(gradient).mT

    pairs = [of_example(example, target) for example, target in zip(*batch, strict=True)]
    return torch.stack([a for a, _ in pairs], 1), torch.stack([g for _, g in pairs], 1)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("approx", ["expand", "reduce"])
@pytest.mark.parametrize("name", LAYERS)
def test_factors_are_those_of_the_definition(name: str, approx: str, bias: bool) -> None:
    make, shape = LAYERS[name]
    layer = make(bias)
    size = layer(torch.zeros(1, *shape)).numel()
    net = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(size, 3))
    kfac = make_kfac(net, shape, fisher="empirical", kfac_approx=approx, other_layers="refuse")
    batch = make_batch(kfac, 4, shape)
    a, g = vectors(kfac, batch, channels_last=isinstance(layer, nn.Linear))
    positions = a.shape[2]
    assert positions > 1
    if approx == "reduce":
        a, g = a.mean(2, keepdim=True), g.sum(2, keepdim=True)
    inputs = torch.einsum("gnpi,gnpj->gij", a, a) / 4
    outputs = torch.einsum("gnpi,gnpj->gij", g, g) / (4 * g.shape[2])
    block = refreshed(kfac, batch).blocks["0"]
    torch.testing.assert_close(block.input_factor.view_as(inputs), inputs, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(block.output_factor.view_as(outputs), outputs, rtol=1e-10, atol=1e-13)


def assert_solves(kfac: KFAC, batch: tuple[Tensor, Tensor]) -> None:
    """Solve, quadratic and largest eigenvalue are those of the dense matrix that the averages stand for."""
    state = refreshed(kfac, batch)
    dense = kfac_matrix(kfac, state)
    force = torch.randn(len(dense), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    eye = torch.eye(len(dense), dtype=torch.float64)
    expected = torch.linalg.solve((dense + kfac.options.delta * eye) / 0.1 + 0.2 * eye, force)
    step, quadratic = kfac.solve(state, force, scalar(0.1), scalar(0.2))
    torch.testing.assert_close(step, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(quadratic, expected @ dense @ expected, rtol=1e-8, atol=0)
    torch.testing.assert_close(kfac.quadratic(state, force), force @ dense @ force, rtol=1e-8, atol=0)
    torch.testing.assert_close(kfac.largest(state), torch.linalg.eigvalsh(dense)[-1], rtol=1e-8, atol=0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_solve_is_that_of_the_dense_matrix(name: str, bias: bool) -> None:
    make, shape = LAYERS[name]
    layer = make(bias)
    net = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(layer(torch.zeros(1, *shape)).numel(), 3))
    kfac = make_kfac(net, shape, fisher="exact")
    assert_solves(kfac, make_batch(kfac, 4, shape))


def test_the_largest_eigenvalue_of_a_block_is_that_of_one_of_its_groups() -> None:
    """Not the product of the largest of all groups, nor a sum or a mean."""
    like = torch.empty(0, dtype=torch.float64)

    def diagonal(*values: list[float]) -> Tensor:
        return torch.stack([torch.diag(torch.tensor(group, dtype=torch.float64)) for group in values])

    groups = Kronecker.empty((2, 2, 2), 0, like)
    groups = groups._replace(input_factor=diagonal([1, 4], [2, 1]), output_factor=diagonal([3, 1], [9, 1]))
    assert groups.decompose().largest() == pytest.approx(18)
    table = TokenKronecker.empty((2, 3), 0, like)._replace(
        frequencies=torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64), output_factor=diagonal([2, 1])[0]
    )
    assert table.decompose().largest() == pytest.approx(10)
    assert Diagonal.empty((3,), 0, like)._replace(running=torch.tensor([1.0, 7.0, 2.0])).decompose().largest() == 7


ONE_POSITION = {
    "Conv1d": (lambda: nn.Conv1d(2, 3, 4), (2, 4)),
    "Conv2d grouped": (lambda: nn.Conv2d(4, 4, (2, 3), groups=2), (4, 2, 3)),
    "Conv2d depthwise": (lambda: nn.Conv2d(3, 3, 2, groups=3), (3, 2, 2)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 2, 2)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 4, 3, padding=1), (3, 1)),
    "ConvTranspose2d grouped": (lambda: nn.ConvTranspose2d(4, 4, 1, groups=2), (4, 1, 1)),
}


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
@pytest.mark.parametrize("name", ONE_POSITION)
def test_one_position_and_one_example_are_exact_within_each_group(name: str, fisher: str) -> None:
    make, shape = ONE_POSITION[name]
    kfac = make_kfac(nn.Sequential(make(), nn.Flatten()), shape, fisher=fisher)
    batch = make_batch(kfac, 1, shape)
    given, expected = kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch)
    within = torch.zeros_like(expected, dtype=torch.bool)
    for places in matrix_places(kfac, kfac.capture.layers["0"]):
        within[places.flatten()[:, None], places.flatten()] = True
    torch.testing.assert_close(given, torch.where(within, expected, 0.0), rtol=1e-9, atol=1e-12)


def test_many_groups_are_one_batch_of_matrices() -> None:
    """Nothing runs group by group: 400 groups take as many operations as 4."""
    counts = []
    for groups in (4, 400):
        kfac = make_kfac(nn.Sequential(nn.Conv2d(groups, groups, 3, groups=groups), nn.Flatten()), (groups, 3, 3))
        batch = make_batch(kfac, 2, (groups, 3, 3))
        counter = Operations()
        with counter:
            kfac.solve(refreshed(kfac, batch), kfac.model.start(), scalar(0.1), scalar(0.0))
        counts.append(counter.number)
    assert counts[0] == counts[1]


class Operations(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts operations."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))
