"""Networks differentiated by hand: which ones, and that the gradient is the automatic one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import vmap

from ngpd_fl.models import (
    Categorical,
    FlatModel,
    Gaussian,
    LabelSmoothing,
    Likelihood,
    SquaredError,
    SupervisedObjective,
)
from ngpd_fl.models.dense import dense_layers

DENSE = {
    "softmax": nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
    "mlp": nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)),
    "two in a row": nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Linear(7, 3)),
    "without bias": nn.Sequential(nn.Flatten(), nn.Linear(12, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)),
    "ends in relu": nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3), nn.ReLU()),
}
OTHERS = {
    "tanh": nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3)),
    "relu twice": nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.ReLU(), nn.Linear(7, 3)),
    "relu first": nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(12, 3)),
    "no flatten": nn.Sequential(nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)),
    "partly flat": nn.Sequential(nn.Flatten(2), nn.Linear(12, 3)),
    "nested": nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 3))),
    "nothing": nn.Sequential(nn.Flatten()),
}


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("likelihood", [Categorical(), LabelSmoothing(0.3), Gaussian(), SquaredError()])
def test_gradient_is_the_automatic_one(name: str, likelihood: Likelihood) -> None:
    model = FlatModel(DENSE[name].double())
    objective = SupervisedObjective(model, likelihood)
    assert (objective.dense_layers is None) == (name == "ends in relu")
    params = torch.randn(3, model.num_params, dtype=torch.float64)
    inputs = torch.randn(3, 6, 1, 3, 4, dtype=torch.float64)
    targets = torch.randn(3, 6, 3).double() if type(likelihood) is Gaussian else torch.randint(3, (3, 6))
    loss, gradient = vmap(objective.gradient)(params, (inputs, targets))
    for node in range(3):
        flat = params[node].clone().requires_grad_()
        expected = likelihood.loss(model(flat, inputs[node]), targets[node])
        torch.testing.assert_close(loss[node], expected.detach())
        torch.testing.assert_close(gradient[node], torch.autograd.grad(expected, flat)[0])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_network_is_left_to_automatic_differentiation(name: str) -> None:
    assert dense_layers(FlatModel(OTHERS[name])) is None


def test_hooks_and_subclasses_may_do_more() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    assert dense_layers(FlatModel(nn.Sequential(nn.Flatten(), Scaled(12, 3)))) is None
    hooked = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    hooked[1].register_forward_hook(lambda module, args, output: 2 * output)
    assert dense_layers(FlatModel(hooked)) is None


def test_a_hook_on_the_gradient_may_do_more() -> None:
    hooked = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    hooked[1].register_full_backward_pre_hook(lambda module, gradients: tuple(2 * each for each in gradients))
    assert dense_layers(FlatModel(hooked)) is None


@pytest.mark.parametrize("shared", ["relu", "linear", "weight", "bias"])
def test_a_network_with_shared_parts_has_its_own_gradient(shared: str) -> None:
    one, other, relu = nn.Linear(7, 7), nn.Linear(7, 7), nn.ReLU()
    if shared == "linear":
        other = one
    elif shared != "relu":
        setattr(other, shared, getattr(one, shared))
    inner = (relu, one, relu, other) if shared == "relu" else (one, other)
    model = FlatModel(nn.Sequential(nn.Flatten(), nn.Linear(12, 7), *inner, nn.Linear(7, 3)).double())
    params, inputs = torch.randn(model.num_params, dtype=torch.float64), torch.randn(6, 12, dtype=torch.float64)
    targets = torch.randint(3, (6,))
    loss, gradient = SupervisedObjective(model, Categorical()).gradient(params, (inputs, targets))
    flat = params.clone().requires_grad_()
    expected = Categorical().loss(model(flat, inputs), targets)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, flat)[0])


def test_a_parameter_that_is_not_used_has_gradient_zero() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.used(inputs)

    model = FlatModel(Idle())
    batch = torch.randn(6, 4), torch.randint(3, (6,))
    _, gradient = SupervisedObjective(model, Categorical()).gradient(model.start(), batch)
    assert gradient[:15].abs().min() > 0 and gradient[15:].tolist() == 10 * [0]
