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


def tied() -> nn.Module:
    net = nn.Sequential(OrderedDict(first=nn.Linear(3, 3), second=nn.Linear(3, 3)))
    net.second.weight = net.first.weight
    return net


def shared() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(OrderedDict(first=layer, middle=nn.Tanh(), second=layer))


def image(conv: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=conv, flat=nn.Flatten()))


REFUSED = {
    "embedding": (
        lambda: Net(lambda net, x: net.embed(x.long()).mean(1), embed=nn.Embedding(5, 2)),
        (3,),
        ("'embed.weight'", "Embedding", "Linear, Conv2d, GroupNorm, LayerNorm"),
    ),
    "other normalization": (lambda: nn.Sequential(nn.RMSNorm(3)), (3,), ("'0.weight'", "RMSNorm")),
    "attention": (
        lambda: Net(lambda net, x: net.attend(x, x, x)[0].mean(1), attend=nn.MultiheadAttention(4, 2)),
        (3, 4),
        ("'attend.in_proj_weight'", "MultiheadAttention"),
    ),
    "recurrent": (lambda: Net(lambda net, x: net.rnn(x)[0][:, -1], rnn=nn.LSTM(3, 2)), (4, 3), ("'rnn.", "LSTM")),
    "transposed": (lambda: image(nn.ConvTranspose2d(1, 1, 2)), (1, 3, 3), ("'conv.weight'", "ConvTranspose2d")),
    "one-dimensional": (lambda: image(nn.Conv1d(1, 1, 2)), (1, 3), ("'conv.weight'", "Conv1d")),
    "groups": (lambda: image(nn.Conv2d(2, 2, 2, groups=2)), (2, 3, 3), ("'conv'", "groups = 2")),
    "circular": (
        lambda: image(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
        (1, 3, 3),
        ("'conv'", "padding_mode = 'circular'"),
    ),
    "used twice": (shared, (3,), ("'first'", "more than once")),
    "never used": (
        lambda: Net(lambda net, x: net.used(x), used=nn.Linear(3, 2), idle=nn.Linear(3, 2)),
        (3,),
        ("'idle'", "never used"),
    ),
    "tied": (tied, (3,), ("'second.weight'", "shared")),
    "raw parameter": (lambda: nn.Sequential(WithScale()), (3,), ("'0.scale'", "WithScale")),
    "raw parameter of the network": (WithScale, (3,), ("'scale'", "WithScale")),
    "parameter list": (lambda: nn.ParameterList([torch.ones(3)]), (3,), ("'0'", "ParameterList")),
    "one parameter more": (lambda: nn.Sequential(Gained()), (3,), ("'0'", "Gained", "weight, bias, gain")),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))),
        (3,),
        ("'0'", "parameters bias"),
    ),
    "weight norm without bias": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2, bias=False))),
        (3,),
        ("'0.parametrizations.weight.original0'",),
    ),
    "subclass": (lambda: nn.Sequential(Doubling(3, 2)), (3,), ("'0'", "Doubling", "does more than")),
    "weight used elsewhere": (
        lambda: Net(lambda net, x: net.layer(x) + x @ net.layer.weight, layer=nn.Linear(3, 3)),
        (3,),
        ("'layer'", "also used apart from it"),
    ),
    "batch in another axis": (
        lambda: Net(lambda net, x: net.layer(x.transpose(0, 1)).mean(0), layer=nn.Linear(3, 2)),
        (2, 3),  # as long as a batch of two
        ("'layer'", "first axis"),
    ),
    "batch flattened with time": (
        lambda: Net(lambda net, x: net.layer(x.flatten(0, 1)).view(len(x), -1, 2).mean(1), layer=nn.Linear(3, 2)),
        (4, 3),
        ("'layer'", "first axis"),
    ),
}


def hooks(net: nn.Module) -> list[int]:
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()]


@pytest.mark.parametrize("case", REFUSED)
def test_what_kfac_cannot_handle_is_an_error_of_one_line_that_names_it(case: str) -> None:
    make_net, input_shape, words = REFUSED[case]
    net = make_net()
    before = hooks(net)
    with pytest.raises(InputError) as raised:
        make_kfac(net, input_shape)
    message = str(raised.value)
    assert "\n" not in message and message.startswith("model: ")
    assert all(word in message for word in words), message
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
