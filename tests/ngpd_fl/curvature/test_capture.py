"""The networks that K-FAC accepts, its errors about all others, and that it leaves the module as it was."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ngpd_fl.config.errors import InputError
from strategies import Phase
from tests.ngpd_fl.curvature.dense import kfac_matrix, make_batch, make_kfac, refreshed


class Net(nn.Module):
    """A network made of named layers and a forward pass."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = run

    def forward(self, inputs: Tensor) -> Tensor:
        return self.run(self, inputs)


class WithScale(nn.Module):
    """A parameter of its own and children."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.scale * inputs)


class Gained(nn.Linear):
    """A linear layer with a parameter more."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.gain * super().forward(inputs)


class Doubling(nn.Linear):
    """A linear layer that computes something else than nn.Linear."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(2 * inputs)


def bias_is_weight() -> nn.Module:
    net = nn.Sequential(OrderedDict(first=nn.Linear(3, 3), norm=nn.LayerNorm(3)))
    net.norm.weight = net.first.bias
    return net


REFUSED = {
    "attention": (
        lambda: Net(lambda net, x: net.attend(x, x, x)[0].mean(1), attend=nn.MultiheadAttention(4, 2)),
        (3, 4),
        ("'attend.in_proj_weight'", "MultiheadAttention", "rules are for: Linear, Conv1d"),
    ),
    "recurrent": (lambda: Net(lambda net, x: net.rnn(x)[0][:, -1], rnn=nn.LSTM(3, 2)), (4, 3), ("'rnn.", "LSTM")),
    "raw parameter": (lambda: nn.Sequential(WithScale()), (3,), ("'0.scale'", "WithScale")),
    "raw parameter of the network": (WithScale, (3,), ("'scale'", "WithScale")),
    "one parameter more": (lambda: nn.Sequential(Gained()), (3,), ("'0.weight'", "Gained", "besides a weight")),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))),
        (3,),
        ("'0.bias'", "ParametrizedLinear"),
    ),
    "weight norm without bias": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2, bias=False))),
        (3,),
        ("'0.parametrizations.weight.original0'",),
    ),
    "subclass": (lambda: nn.Sequential(Doubling(3, 2)), (3,), ("'0.weight'", "Doubling", "does more than")),
    "weight used elsewhere": (
        lambda: Net(lambda net, x: net.layer(x) + x @ net.layer.weight, layer=nn.Linear(3, 3)),
        (3,),
        ("'layer.weight'", "also used apart from it"),
    ),
    "weight used elsewhere only": (
        lambda: Net(lambda net, x: x @ net.layer.weight + net.layer.bias, layer=nn.Linear(3, 3)),
        (3,),
        ("'layer.weight'", "also used apart from it"),
    ),
    "no batch": (
        lambda: Net(lambda net, x: x + net.table(torch.arange(3)).sum(1), table=nn.Embedding(3, 2)),
        (3,),
        ("'table.weight'", "first axis"),
    ),
    "images of an example apart": (
        lambda: Net(lambda net, x: net.conv(x.flatten(0, 1)[:, None]).view(len(x), -1), conv=nn.Conv1d(1, 1, 2)),
        (2, 3),
        ("'conv.weight'", "first axis"),
    ),
    "a weight that is a bias elsewhere": (bias_is_weight, (3,), ("shares one",)),
}


def hooks(net: nn.Module) -> list[int]:
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()]


@pytest.mark.parametrize("case", REFUSED)
def test_what_kfac_cannot_handle_is_an_error_of_one_line_that_names_it(case: str) -> None:
    make_net, input_shape, words = REFUSED[case]
    net = make_net()
    before = hooks(net)
    with pytest.raises(InputError) as raised:
        make_kfac(net, input_shape, other_layers="refuse")
    message = str(raised.value)
    assert "\n" not in message and message.startswith("model: ")
    assert all(word in message for word in (*words, "strategy.other_layers")), message
    assert hooks(net) == before


def matrix_of(net: nn.Module, input_shape: tuple[int, ...] = (3,)) -> Tensor:
    kfac = make_kfac(net, input_shape, fisher="exact")
    return kfac_matrix(kfac, refreshed(kfac, make_batch(kfac, 4, input_shape)))


REFERENCE = lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))  # noqa: E731


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), id="in place"),
        pytest.param(
            Net(lambda net, x: net.b(input=net.a(input=x).relu()), a=nn.Linear(3, 4), b=nn.Linear(4, 2)), id="keyword"
        ),
        pytest.param(
            nn.Sequential(OrderedDict(weight=nn.Linear(3, 4), bias=nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))),
            id="names like parameters",
        ),
        pytest.param(
            Net(
                lambda net, x: net.b(net.a(torch.cat([x, x])[: len(x)]).relu().mT.mT),
                a=nn.Linear(3, 4),
                b=nn.Linear(4, 2),
            ),
            id="views",
        ),
        pytest.param(
            Net(
                lambda net, x: net.b(net.a(x[:, None].expand(-1, 1, -1)).relu())[:, 0],
                a=nn.Linear(3, 4),
                b=nn.Linear(4, 2),
            ),
            id="one position",
        ),
    ],
)
def test_the_same_network_written_otherwise_has_the_same_matrix(net: nn.Module) -> None:
    torch.testing.assert_close(matrix_of(net), matrix_of(REFERENCE()), rtol=1e-10, atol=1e-13)


def test_a_subclass_that_computes_the_same_is_taken() -> None:
    class Mine(nn.Linear):
        pass

    torch.testing.assert_close(matrix_of(nn.Sequential(Mine(3, 4))), matrix_of(nn.Sequential(nn.Linear(3, 4))))


def test_a_layer_alone_and_without_parameters() -> None:
    assert matrix_of(nn.Linear(3, 2)).shape == (8, 8)
    plain = matrix_of(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 2)))
    assert plain.shape == (26, 26)


def test_hooks_of_the_users_own_see_the_output_after_it_is_captured() -> None:
    class Scale(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return 3 * inputs

    hooked = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    hooked[0].register_forward_hook(lambda module, args, output: 3 * output)
    expected = matrix_of(nn.Sequential(nn.Linear(3, 4), Scale(), nn.Tanh(), nn.Linear(4, 2)))
    torch.testing.assert_close(matrix_of(hooked), expected)


def test_the_module_is_left_as_it_was() -> None:
    net = REFERENCE().double()
    kfac = make_kfac(net, (3,))
    kept, parameters = copy.deepcopy(net.state_dict()), list(net.parameters())
    batch = make_batch(kfac, 4, (3,))
    refreshed(kfac, batch)
    kfac.gradient(kfac.init(kfac.model.start()), kfac.model.start(), batch, torch.rand(4), Phase())
    assert not any(hooks(net))
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())
    assert all(one is other for one, other in zip(net.parameters(), parameters, strict=True))
    assert all(parameter.grad is None for parameter in parameters)
    pickle.loads(pickle.dumps(net))


def test_an_error_in_a_forward_pass_leaves_no_hook() -> None:
    net = REFERENCE()
    kfac = make_kfac(net, (3,))
    with pytest.raises(RuntimeError):
        refreshed(kfac, (torch.zeros(4, 7, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)))
    assert not any(hooks(net))


def test_two_curvatures_of_one_module_do_not_meet() -> None:
    net = REFERENCE()
    alone = matrix_of(net)
    one, other = make_kfac(net, (3,), fisher="exact"), make_kfac(net, (3,), fisher="empirical")
    batch = make_batch(one, 4, (3,))
    refreshed(other, make_batch(one, 7, (3,), seed=9))
    torch.testing.assert_close(kfac_matrix(one, refreshed(one, batch)), alone)


def test_the_checks_leave_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    matrix_of(REFERENCE())
    net = REFERENCE()
    before = torch.get_rng_state()
    make_kfac(net, (3,))
    assert torch.equal(torch.get_rng_state(), before)
