"""Networks that cannot be trained by nodes with data of their own: one line says why and where."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.models.checks import can_batch, check_gradient, check_model, check_tensors
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.training.run import run

EXAMPLES = torch.randn((3, 2, 4, 4), generator=torch.Generator().manual_seed(0))


class Run(nn.Module):
    """A linear layer and a forward pass around it."""

    def __init__(self, run: Callable[[Run, Tensor], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 3)
        self.register_buffer("count", torch.zeros(()))
        self.run = run

    def empty(self) -> Run:
        """Return it with parameters that hold nothing."""
        self.layer.weight, self.layer.bias = (nn.Parameter(torch.empty(0)) for _ in range(2))
        return self

    def turned(self, dtype: torch.dtype) -> Run:
        """Return it with a complex buffer."""
        self.register_buffer("turn", torch.polar(torch.ones(()), torch.tensor(0.5)).to(dtype))
        return self

    def forward(self, inputs: Tensor) -> object:
        return self.run(self, inputs.flatten(1))


class Square(torch.autograd.Function):
    """An operation without a batching rule."""

    @staticmethod
    def forward(ctx: object, inputs: Tensor) -> Tensor:
        return inputs.square()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def around(layer: nn.Module, width: int = 32) -> nn.Module:
    return nn.Sequential(nn.Identity(), layer, nn.Flatten(), nn.Linear(width, 3))


def of_value(layer: nn.Linear, value: float) -> nn.Linear:
    layer.weight.data[0, 0] = value
    return layer


def frozen() -> nn.Module:
    net = around(nn.Conv2d(2, 2, 1))
    net[1].bias.requires_grad_(False)
    return net


def add_in_place(net: Run, inputs: Tensor) -> Tensor:
    hidden = net.layer(inputs)
    hidden += hidden.square()
    hidden.exp_().add_(hidden)
    return hidden.mul_(hidden)


def standardized(net: Run, inputs: Tensor) -> Tensor:
    return net.layer((inputs - inputs.mean(0)) / (1 + inputs.std(0, correction=0)))


def counting(net: Run, inputs: Tensor) -> Tensor:
    net.count += 1
    return net.layer(inputs)


def with_memory(net: Run, inputs: Tensor) -> Tensor:
    net.calls = getattr(net, "calls", 0) + 1
    return net.layer(inputs) * net.calls


def with_buffer(buffer: Tensor) -> nn.Module:
    net = Run(lambda net, x: net.layer(x))
    net.register_buffer("odd", buffer)
    return net


def locked() -> nn.Module:
    net = Run(lambda net, x: net.layer(x))
    net.lock = threading.Lock()
    return net


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(32, 3)))


REFUSED = {
    "batch norm": (lambda: around(nn.BatchNorm2d(2)), ("'1'", "BatchNorm2d", "each node's own data", "GroupNorm")),
    "batch norm without statistics": (
        lambda: around(nn.BatchNorm2d(2, affine=False, track_running_stats=False)),
        ("'1'", "BatchNorm2d", "GroupNorm"),
    ),
    "synchronized batch norm": (lambda: around(nn.SyncBatchNorm(2)), ("'1'", "SyncBatchNorm", "GroupNorm")),
    "instance norm with statistics": (
        lambda: around(nn.InstanceNorm2d(2, track_running_stats=True)),
        ("'1.running_mean'", "all nodes would share"),
    ),
    "dropout in evaluation too": (lambda: Run(lambda net, x: net.layer(F.dropout(x))), ("draws random numbers",)),
    "random slopes": (lambda: around(nn.RReLU()), ("draws random numbers",)),
    "noise": (lambda: Run(lambda net, x: net.layer(x + torch.randn_like(x))), ("draws random numbers",)),
    "complex parameter": (
        lambda: around(nn.Linear(4, 4, dtype=torch.complex64)),
        ("'1.weight'", "complex; only real"),
    ),
    "parameter that is nan": (
        lambda: around(of_value(nn.Linear(4, 4), torch.nan)),
        ("'1.weight'", "nan or infinite"),
    ),
    "complex buffer of twice the width": (
        lambda: Run(lambda net, x: net.layer(x * net.turn.abs())).turned(torch.complex128),
        ("'turn'", "complex128", "use complex64"),
    ),
    "all frozen": (lambda: around(nn.Conv2d(2, 2, 1)).requires_grad_(False), ("every parameter is frozen",)),
    "no parameters": (lambda: nn.Flatten(), ("no parameters",)),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), ("'1.weight'", "sizes")),
    "too many outputs": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 4)), ("(1, 4)", "expected (1, 3)")),
    "an axis more": (lambda: Run(lambda net, x: net.layer(x)[..., None]), ("(1, 3, 1)", "expected (1, 3)")),
    "a tuple": (lambda: Run(lambda net, x: (net.layer(x), x)), ("returns a tuple", "(1, 3)")),
    "wrong size": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(31, 3)), ("fails on inputs of shape (2, 4, 4)",)),
    "error without a message": (lambda: Run(lambda net, x: net.nothing()), ("fails on inputs", "AttributeError")),
    "empty message": (lambda: Run(lambda net, x: next(iter(()))), ("fails on inputs", "StopIteration")),
    "examples mixed": (lambda: Run(standardized), ("the others of its batch",)),
    "no batch axis for one": (
        lambda: Run(lambda net, x: net.layer(x).squeeze()),
        ("for a batch of 1 it returns shape (3,); expected (1, 3)",),
    ),
    "batches of three": (
        lambda: Run(lambda net, x: net.layer(x) + (len(x) == 3)),
        ("the others of its batch",),
    ),
    "on no device": (lambda: around(nn.Linear(4, 4, device="meta")), ("'1.weight'", "meta")),
    "sparse buffer": (lambda: with_buffer(torch.eye(2).to_sparse()), ("buffer 'odd'", "sparse", "to_dense()")),
    "only empty parameters": (lambda: Run(lambda net, x: x[:, :3]).empty(), ("no parameters",)),
    "end of the process": (lambda: Run(lambda net, x: sys.exit(3)), ("fails on inputs", "SystemExit")),
    "truth values": (lambda: Run(lambda net, x: net.layer(x) > 0), ("type bool", "floating-point")),
    "complex outputs": (lambda: Run(lambda net, x: net.layer(x) * 1j), ("type complex64", "floating-point")),
    "whole numbers": (lambda: Run(lambda net, x: net.layer(x).long()), ("type int64", "floating-point")),
    "cut off from its parameters": (lambda: Run(lambda net, x: net.layer(x).detach()), ("depend on none",)),
    "without gradients": (lambda: Run(torch.no_grad()(lambda net, x: net.layer(x))), ("depend on none",)),
    "a lock": (locked, ("cannot be copied", "lock")),
    "in parallel": (lambda: nn.DataParallel(Run(lambda net, x: net.layer(x))), ("cannot be differentiated",)),
    "compiled to a script": (scripted, ("cannot be differentiated",)),
    "earlier calls": (lambda: Run(with_memory), ("earlier calls",)),
    "counter": (lambda: Run(counting), ("'count'", "all nodes would share")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_cannot_be_used_is_an_error_of_one_line(case: str) -> None:
    make, words = REFUSED[case]
    net = make()
    with pytest.raises(InputError) as raised:
        check_tensors(net)
        check_model(net, EXAMPLES, 3)
        check_gradient(FlatModel(net), EXAMPLES)
    message = str(raised.value)
    assert "\n" not in message and message.startswith("model: ")
    assert all(word in message for word in words), message


ONE_BY_ONE = {
    "data-dependent branch": lambda: Run(lambda net, x: net.layer(x) if x.sum() < 1e9 else net.layer(-x)),
    "number out of a tensor": lambda: Run(lambda net, x: net.layer(x) * net.layer.weight.max().item()),
    "operation without a rule": lambda: Run(lambda net, x: net.layer(Square.apply(x))),
    "written in place": lambda: Run(add_in_place),
}


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_a_network_that_vmap_cannot_batch_is_taken_one_node_after_another(case: str) -> None:
    net = ONE_BY_ONE[case]()
    check_model(net, EXAMPLES, 3)
    assert not can_batch(FlatModel(net), EXAMPLES)


TAKEN = {
    "frozen": frozen,
    "group norm": lambda: around(nn.GroupNorm(1, 2)),
    "instance norm": lambda: around(nn.InstanceNorm2d(2, affine=True)),
    "dropout of nothing": lambda: around(nn.Dropout(0.0)),
    "dropout": lambda: around(nn.Dropout2d(0.5)),
    "functional dropout": lambda: Run(lambda net, x: net.layer(F.dropout(x, training=net.training))),
    "in place": lambda: around(nn.ReLU(inplace=True)),
    "buffer": lambda: Run(lambda net, x: net.layer(x) + net.count),
    "parameters of its own": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.PReLU()),
    "weight norm": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(32, 3)), nn.Tanh()
    ),
    "attention": lambda: nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, batch_first=True), around(nn.Identity())
    ),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", TAKEN)
def test_other_networks_are_taken(case: str, dtype: torch.dtype) -> None:
    net = TAKEN[case]().to(dtype)
    kept = [parameter.clone() for parameter in net.parameters()]
    before = torch.get_rng_state()
    is_random = check_model(net, EXAMPLES.to(dtype), 3)
    assert can_batch(FlatModel(net, is_random), EXAMPLES.to(dtype))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), kept, strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_network_is_tried_on_what_it_will_get() -> None:
    """Token ids are no numbers around 0, and there are no more of them than the table has rows."""
    net = Run(lambda net, x: net.layer(net.table(x.long()).flatten(1)))
    net.table = nn.Embedding(5, 8)
    ids = torch.tensor([[0, 4, 2, 1], [3, 3, 0, 2], [1, 0, 4, 4]], dtype=torch.float32)
    check_model(net, ids, 3)
    with pytest.raises(InputError, match=r"^model: it fails on inputs of shape \(4,\), 1 at once \(IndexError"):
        check_model(net, ids + 1, 3)


def test_mixing_is_noticed_however_small_the_inputs_are() -> None:
    with pytest.raises(InputError, match="the others of its batch"):
        check_model(Run(lambda net, x: (x - x.mean(0))[:, :3] * net.layer.weight[0, 0]), EXAMPLES * 1e-6, 3)


@pytest.mark.parametrize("strategy", ["dsgd", "ngpd"])
def test_a_network_may_keep_what_it_computed(strategy: str) -> None:
    """Such tensors, part of a graph, cannot be copied: a copy for each thread is made of a module that has none."""

    def keep(net: Run, inputs: Tensor) -> Tensor:
        net.kept = net.layer(inputs)
        return net.kept

    config = Config(
        strategy=strategy,
        topology={"name": "ring", "nodes": 3},
        training={"rounds": 1, "local_steps": 1},
        engine={"workers": 2, "chunk_size": 1, "device": "cpu"},
    )
    classes = torch.arange(30) % 3
    data = (torch.randn(30, 32, generator=torch.Generator().manual_seed(0)), classes)
    assert run(config, model=Run(keep), data=data).summary["status"] == "finished"
