"""A module as a function of one flat vector, and the objective made of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from ngpd_fl.config import Config, ModelConfig
from ngpd_fl.models import Categorical, FlatModel, Gaussian, SupervisedObjective
from ngpd_fl.models.lenet import lenet
from ngpd_fl.models.mlp import dense
from ngpd_fl.training.run import run


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(108, 4))


NETS = {
    "softmax": lambda: dense((1, 8, 8), 4, ()),
    "mlp": lambda: dense((1, 8, 8), 4, (6, 5)),
    "lenet": lambda: lenet(ModelConfig(channels=(2, 3), hidden=(6,)), (1, 8, 8), 4),
    "conv": conv_net,
}


@pytest.fixture(params=NETS)
def net(request: Any) -> nn.Module:
    torch.manual_seed(0)
    return NETS[request.param]().double()


def images(*shape: int) -> Tensor:
    return torch.randn((*shape, 1, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_start_unflattens_to_the_state_dict(net: nn.Module) -> None:
    model = FlatModel(net)
    given, expected = model.unflatten(model.start()), net.state_dict()
    assert list(given) == list(expected) and all(torch.equal(given[name], expected[name]) for name in expected)
    assert model.num_params == len(model.start()) == sum(parameter.numel() for parameter in net.parameters())
    assert not model.start().requires_grad


def test_any_vector_goes_through_a_module_and_back(net: nn.Module) -> None:
    model = FlatModel(net)
    params = torch.randn(model.num_params, dtype=torch.float64)
    outputs = model(params, images(5))
    kept = model.start()
    assert torch.equal(kept, torch.cat([parameter.flatten() for parameter in net.parameters()]))  # unchanged by it
    net.load_state_dict(model.unflatten(params))
    assert torch.equal(model.start(), params)
    torch.testing.assert_close(net(images(5)), outputs)


def test_the_start_is_a_copy(net: nn.Module) -> None:
    model = FlatModel(net)
    start = model.start()
    start += 1
    assert not torch.equal(model.start(), start)


def test_vectors_with_any_stride_unflatten(net: nn.Module) -> None:
    model = FlatModel(net)
    params = torch.randn((model.num_params, 2), dtype=torch.float64)[:, 1]
    torch.testing.assert_close(model(params, images(2)), model(params.contiguous(), images(2)))


def test_tied_weights_are_one_parameter() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    net[2].weight = net[0].weight
    model = FlatModel(net)
    assert model.num_params == 9 + 3 + 3
    inputs, params = torch.randn(2, 3, dtype=torch.float64), torch.randn(15, dtype=torch.float64)
    weight, first, second = params[:9].view(3, 3), params[9:12], params[12:]
    expected = torch.tanh(inputs @ weight.T + first) @ weight.T + second
    torch.testing.assert_close(model(params, inputs), expected)


@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_the_objective_has_the_gradient_of_the_plain_module(
    net: nn.Module, likelihood: Any, weight_decay: float
) -> None:
    model = FlatModel(net)
    targets = torch.tensor([0, 3, 1]) if isinstance(likelihood, Categorical) else torch.ones(3, 4, dtype=torch.float64)
    outputs = net(images(3))
    if isinstance(likelihood, Categorical):
        loss = nn.functional.cross_entropy(outputs, targets)
    else:
        loss = (outputs - targets).square().sum() / 6
    penalty = sum(weight_decay / 2 * parameter.square().sum() for parameter in net.parameters())
    expected = torch.autograd.grad(loss + penalty, list(net.parameters()))
    objective = SupervisedObjective(model, likelihood, weight_decay)
    value, gradient = objective.gradient(model.start(), (images(3), targets))
    torch.testing.assert_close(value, loss.detach())  # without the penalty
    torch.testing.assert_close(gradient, torch.cat([part.flatten() for part in expected]))


def test_a_first_layer_may_work_in_place() -> None:
    model = FlatModel(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Tanh(), nn.Linear(64, 4)).double())
    batch = (images(2, 3), torch.randint(4, (2, 3)))
    params = model.start().repeat(2, 1)
    expected = SupervisedObjective(model, Categorical()).gradient(params[1], (images(2, 3)[1].relu(), batch[1][1]))
    losses, gradients = vmap(SupervisedObjective(model, Categorical()).gradient)(params, batch)
    torch.testing.assert_close((losses[1], gradients[1]), expected)


def test_nodes_at_once_are_nodes_one_by_one(net: nn.Module) -> None:
    model = FlatModel(net)
    objective = SupervisedObjective(model, Categorical(), 0.1)
    params = model.start() + 0.1 * torch.randn(3, model.num_params, dtype=torch.float64)
    batch = (images(3, 5), torch.randint(4, (3, 5)))
    losses, gradients = vmap(objective.gradient)(params, batch)
    for node in range(3):
        expected = objective.gradient(params[node], (batch[0][node], batch[1][node]))
        torch.testing.assert_close((losses[node], gradients[node]), expected)


class Returns(nn.Module):
    """A layer whose outputs are of another type than its parameters, as under autocast."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = nn.Linear(6, 3), dtype

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs).to(self.dtype)
        return outputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_outputs_of_another_type_get_that_of_the_parameters(dtype: torch.dtype) -> None:
    model = FlatModel(Returns(dtype))
    assert model(model.start(), torch.randn(4, 6)).dtype == torch.float32
    data = torch.randn(60, 6), torch.arange(60) % 3
    config = Config(training={"rounds": 2}, topology={"nodes": 3}, partition="iid", strategy="ngpd")
    assert run(config, model=Returns(dtype), data=data).params.dtype == torch.float32
