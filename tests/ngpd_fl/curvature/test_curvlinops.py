"""K-FAC's Kronecker products against those of the library curvlinops, on the same batch."""

from __future__ import annotations

import pytest
import torch
from curvlinops import KFACLinearOperator
from torch import Tensor, nn

from ngpd_fl.curvature import KFAC
from ngpd_fl.models import Categorical, Gaussian
from tests.ngpd_fl.curvature.dense import dense_fisher, kfac_matrix, make_batch, make_kfac, refreshed, relative_error


class OverTime(nn.Module):
    """Linear layers on ``[B, T, d]``; the mean over T comes out."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5, bias=bias)
        self.second = nn.Linear(5, 4, bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(inputs))).mean(1)


def linear(bias: bool) -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.Tanh(), nn.Linear(5, 3, bias=bias)), (4,)


def over_time(bias: bool) -> tuple[nn.Module, tuple[int, ...]]:
    return OverTime(bias), (6, 3)


def conv(bias: bool, **settings: object) -> tuple[nn.Module, tuple[int, ...]]:
    first = nn.Conv2d(2, 3, **settings, bias=bias)  # type: ignore[arg-type]
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(3, 2, 2, bias=bias), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3))
    net.double()(torch.zeros(1, 2, 7, 6, dtype=torch.float64))
    return net, (2, 7, 6)


NETS = {
    "linear": lambda bias: linear(bias),
    "linear over time": lambda bias: over_time(bias),
    "conv": lambda bias: conv(bias, kernel_size=3),
    "conv stride": lambda bias: conv(bias, kernel_size=(3, 2), stride=(2, 1)),
    "conv padding": lambda bias: conv(bias, kernel_size=3, padding=(2, 1)),
    "conv dilation": lambda bias: conv(bias, kernel_size=(2, 3), dilation=(3, 2), padding=1),
    "conv same": lambda bias: conv(bias, kernel_size=(5, 3), dilation=(1, 2), padding="same"),
    "conv valid": lambda bias: conv(bias, kernel_size=2, padding="valid", stride=2),
}


def curvlinops_matrix(kfac: KFAC, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return curvlinops' dense matrix, in this project's scale."""
    net = kfac.model.module
    gaussian = isinstance(kfac.likelihood, Gaussian)
    operator = KFACLinearOperator(
        net,
        nn.MSELoss() if gaussian else nn.CrossEntropyLoss(),
        list(net.parameters()),
        [batch],
        fisher_type={"exact": "type-2", "empirical": "empirical"}[kfac.options.fisher],
        kfac_approx=kfac.options.kfac_approx,
        separate_weight_and_bias=False,
        check_deterministic=False,
    )
    matrix = operator @ torch.eye(kfac.model.num_params, dtype=torch.float64)
    if not gaussian:
        return matrix
    # MSELoss is |f - y|^2 / C for an example, 2 / C times ours, and so is its exact Fisher matrix. For the empirical
    # one curvlinops multiplies the loss by sqrt(C): its scores are 2 / sqrt(C) times ours.
    width = batch[1].shape[1]
    return matrix * width / (2 if kfac.options.fisher == "exact" else 4)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("fisher", ["empirical", "exact"])
@pytest.mark.parametrize("approx", ["expand", "reduce"])
@pytest.mark.parametrize("name", NETS)
def test_kronecker_products_are_those_of_curvlinops(name: str, approx: str, fisher: str, bias: bool) -> None:
    net, input_shape = NETS[name](bias)
    kfac = make_kfac(net, input_shape, Categorical(), fisher=fisher, kfac_approx=approx)
    batch = make_batch(kfac, 5, input_shape)
    given, expected = kfac_matrix(kfac, refreshed(kfac, batch)), curvlinops_matrix(kfac, batch)
    assert expected.norm() > 1e-3
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
@pytest.mark.parametrize("name", ["linear", "conv stride"])
def test_the_same_with_squared_error(name: str, fisher: str) -> None:
    net, input_shape = NETS[name](True)
    kfac = make_kfac(net, input_shape, Gaussian(), fisher=fisher)
    batch = make_batch(kfac, 5, input_shape)
    assert relative_error(kfac_matrix(kfac, refreshed(kfac, batch)), curvlinops_matrix(kfac, batch)) < 1e-9


def test_reduce_is_exact_where_outputs_are_averaged_over_time_and_expand_is_not() -> None:
    """A linear network, one example: the setting in which Eschenhagen et al. show it."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs).mean(1)

    errors = {}
    for approx in ("expand", "reduce"):
        kfac = make_kfac(Mean(), (4, 3), fisher="exact", kfac_approx=approx)
        batch = make_batch(kfac, 1, (4, 3))
        errors[approx] = relative_error(kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch))
    assert errors["reduce"] < 1e-10 and errors["expand"] > 0.3


def test_a_linear_layer_over_time_is_a_convolution_of_size_one() -> None:
    class AsConvolution(OverTime):
        def __init__(self) -> None:
            super().__init__(bias=True)
            self.first, self.second = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 4, 1)

        def forward(self, inputs: Tensor) -> Tensor:  # [B, T, d] -> [B, d, T, 1]
            images = inputs.transpose(1, 2)[..., None]
            return self.second(torch.tanh(self.first(images))).mean((2, 3))

    linear_net, conv_net = (make_kfac(net, (6, 3), fisher="exact") for net in (OverTime(True), AsConvolution()))
    batch = make_batch(linear_net, 5, (6, 3))
    given, expected = (kfac_matrix(kfac, refreshed(kfac, batch)) for kfac in (linear_net, conv_net))
    torch.testing.assert_close(given, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel, dilation", [((2, 4), 1), ((4, 2), (1, 3)), ((2, 2), (3, 1))])
def test_uneven_padding_is_the_one_that_torch_takes(kernel: tuple[int, int], dilation: int | tuple[int, int]) -> None:
    """curvlinops refuses it; so compare with a network that pads by itself."""
    same = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    pad = nn.ZeroPad2d(tuple(same._reversed_padding_repeated_twice))  # type: ignore[arg-type]
    assert pad.padding[0] != pad.padding[1] or pad.padding[2] != pad.padding[3]
    rest = (nn.Tanh(), nn.Flatten(), nn.Linear(3 * 6 * 5, 3))
    given = make_kfac(nn.Sequential(nn.Identity(), same, *rest), (2, 6, 5), fisher="exact")
    expected = make_kfac(
        nn.Sequential(pad, nn.Conv2d(2, 3, kernel, dilation=dilation), *rest), (2, 6, 5), fisher="exact"
    )
    batch = make_batch(given, 4, (2, 6, 5))
    matrices = [kfac_matrix(kfac, refreshed(kfac, batch)) for kfac in (given, expected)]
    torch.testing.assert_close(*matrices, rtol=1e-10, atol=1e-12)
