"""The pretended device refuses what CUDA refuses, allows what it allows, and counts what a GPU waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tests.support.pretend_device import Counts, PretendDevice, PretendTensor, to_host


@pytest.fixture
def device() -> Iterator[PretendDevice]:
    with PretendDevice(devices=2) as device:
        yield device


def here() -> Tensor:
    return torch.arange(6.0, device="cuda").view(2, 3)


MADE: dict[str, Callable[[], Tensor]] = {
    "to": lambda: torch.ones(3).to("cuda"),
    "to, like": lambda: torch.ones(3).to(here()),
    "cuda()": lambda: torch.ones(3, device=torch.device("cuda")),
    "tensor": lambda: torch.tensor([1.0, 1, 1], device="cuda"),
    "new_tensor": lambda: here().new_tensor([1.0, 1, 1]),
    "as_tensor": lambda: torch.as_tensor(np.ones(3), dtype=torch.float32, device="cuda"),
    "new_full": lambda: here().new_full((3,), 1.0),
    "like": lambda: torch.ones_like(here()[0]),
    "module": lambda: nn.utils.parameters_to_vector(nn.Linear(2, 1).to("cuda").parameters()) * 0 + 1,
}


@pytest.mark.parametrize("way", MADE)
def test_tensors_come_onto_the_device(device: PretendDevice, way: str) -> None:
    made = MADE[way]()
    assert isinstance(made, PretendTensor) and made.device == torch.device("cuda:0") and made.is_cuda
    assert to_host(made).tolist() == [1, 1, 1] and made.cpu().device.type == "cpu"


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "add": lambda x: x + torch.ones(3),
    "add in place": lambda x: x.add_(torch.ones(3)),
    "out": lambda x: torch.add(x, 1, out=torch.ones(2, 3)),
    "where": lambda x: torch.where(torch.tensor([True, False, True]), x, 0.0),
    "matmul": lambda x: x @ torch.ones(3),
    "cat": lambda x: torch.cat([x[0], torch.ones(3)]),
    "stack of a scalar": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "index_select": lambda x: x.index_select(0, torch.tensor([0])),
    "gather": lambda x: x.gather(0, torch.tensor([[0, 0, 0]])),
    "index_copy_": lambda x: x.index_copy_(0, torch.tensor([0]), x[:1]),
    "searchsorted": lambda x: torch.searchsorted(torch.arange(3.0), x),
    "values of another device": lambda x: x.__setitem__(torch.tensor([0]), torch.ones(1, 3)),
    "an index on the device": lambda x: torch.ones(2)[torch.tensor([0], device="cuda")],
    "vmap": lambda x: vmap(lambda row: row * torch.ones(3))(x),
    "another GPU": lambda x: x + x.to("cuda:1"),
    "meta": lambda x: x + x.new_empty((3,), device="meta"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_devices_do_not_mix(device: PretendDevice, what: str) -> None:
    with pytest.raises((RuntimeError, NotImplementedError, TypeError), match="device"):
        REFUSED[what](here())


def test_numpy_reads_the_host_alone(device: PretendDevice) -> None:
    for read in (lambda x: x.numpy(), np.asarray):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            read(here())


ALLOWED: dict[str, tuple[Callable[[Tensor], Tensor], Counts]] = {
    "a number": (lambda x: x * 2 + torch.tensor(1.0), Counts(0, 0, 0, 0)),
    "a number inside": (lambda x: x.index_fill_(1, torch.arange(1, device=x.device), 7.0), Counts(0, 0, 0, 0)),
    "an element is set": (lambda x: _set(x, 0, 7.0), Counts(0, 0, 0, 0)),
    "a row by its number": (lambda x: x[1], Counts(0, 0, 0, 0)),
    "an index on the host": (lambda x: x[torch.tensor([1, 0])], Counts(1, 0, 0, 0)),
    "a list": (lambda x: x[[1, 0]], Counts(1, 0, 0, 0)),
    "a list is set": (lambda x: _set(x, [1, 0], 7.0), Counts(1, 0, 0, 0)),
    "an index on the device": (lambda x: x[torch.arange(2, device=x.device)], Counts(0, 0, 0, 0)),
    "a mask": (lambda x: x[x > 2], Counts(0, 0, 1, 0)),
    "a mask is filled": (lambda x: _set(x, x > 2, 7.0), Counts(0, 0, 0, 0)),
    "a mask is set": (lambda x: _set(x, x > 3, x[0, :2].clone()), Counts(0, 0, 1, 0)),
    "nonzero": (lambda x: x.nonzero(), Counts(0, 0, 1, 0)),
    "unique": (lambda x: x.unique(), Counts(0, 0, 1, 0)),
    "repeat": (lambda x: x.repeat_interleave(torch.arange(2, device=x.device), 0), Counts(0, 0, 1, 0)),
    "repeat, length known": (
        lambda x: x.repeat_interleave(torch.arange(2, device=x.device), 0, output_size=1),
        Counts(0, 0, 0, 0),
    ),
    "item": (lambda x: x * float(x[1, 1]), Counts(0, 1, 0, 0)),
    "bool": (lambda x: x if (x > 2).any() else -x, Counts(0, 1, 0, 0)),
    "tolist": (lambda x: x if x.tolist() else -x, Counts(0, 1, 0, 0)),
    "cpu": (lambda x: x.cpu(), Counts(0, 1, 0, 0)),
    "up and down": (lambda x: torch.ones(2).to(x).cpu(), Counts(1, 1, 0, 0)),
    "copied in place": (lambda x: x.copy_(torch.ones(3)), Counts(1, 0, 0, 0)),
    "copied to the host": (lambda x: torch.ones(2, 3, device="cpu").copy_(x), Counts(0, 1, 0, 0)),
    "eigh": (lambda x: torch.linalg.eigh(x.t() @ x)[0], Counts(0, 0, 0, 1)),
}


def _set(tensor: Tensor, index: Any, value: Any) -> Tensor:
    tensor[index] = value
    return tensor


@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_allowed_computes_what_a_cpu_does_and_is_counted(what: str) -> None:
    function, counts = ALLOWED[what]
    expected = function(torch.arange(6.0).view(2, 3))
    with PretendDevice() as device:
        given = here()
        device.reset()
        found = function(given)
        assert device.counts == counts, device.report()
    assert torch.equal(to_host(found), expected)


def test_gradients_in_vmap_of_a_module_are_those_of_the_cpu(device: PretendDevice) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(8, 3))
    images, labels = torch.randn(5, 4, 1, 4, 4), torch.randint(3, (5, 4))

    def gradients(module: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        def loss(named: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(functional_call(module, named, (images,)), labels)

        named = {name: value.detach() for name, value in module.named_parameters()}
        return vmap(grad(loss), (None, 0, 0))(named, images, labels)

    expected = gradients(module, images, labels)
    device.reset()
    there = images.to("cuda"), labels.to("cuda")
    found = gradients(module.to("cuda"), *there)
    assert device.counts == Counts(2 + len(expected), 0, 0, 0)
    for name, value in expected.items():
        assert isinstance(found[name], PretendTensor) and torch.equal(to_host(found[name]), value)


def test_backward_and_what_is_changed_in_place(device: PretendDevice) -> None:
    leaf = here().requires_grad_()
    twice = leaf * 2
    twice[0] += 1
    (twice * leaf).sum().backward()
    assert leaf.grad is not None and to_host(leaf.grad).tolist() == [[1, 5, 9], [12, 16, 20]]


def test_everything_is_as_before_afterwards() -> None:
    before = torch.cuda.is_available()
    with PretendDevice() as device:
        assert torch.cuda.is_available() and torch.cuda.device_count() == 1
        torch.cuda.synchronize()
        kept = here()
        assert device.counts == Counts(0, 0, 1, 0)
    assert torch.cuda.is_available() == before and torch.tensor([1.0]).device.type == "cpu"
    assert (kept + 1).device == torch.device("cuda:0") and device.counts == Counts(0, 0, 1, 0)
