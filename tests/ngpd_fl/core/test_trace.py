"""Traced functions: a replay gives what a call gives, and nothing is frozen that may change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ngpd_fl.core.batching import call_stacked, over_nodes
from ngpd_fl.core.trace import Traced, refuse_trace, untraced

CALLS = 5
"""More than a function is called before it is traced."""


class Pair(NamedTuple):
    first: Tensor
    second: Any


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def flatten(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for value in (tree.values() if isinstance(tree, dict) else tree) for leaf in flatten(value)]


def assert_equal(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    for one, other in zip(flatten(actual), flatten(expected), strict=True):
        assert torch.equal(one, other)


def product(state: Pair, x: Tensor) -> tuple[Pair, Tensor]:
    return Pair(state.first + x, {"sum": (x @ state.first, ()), "same": state.second}), x.cumsum(0)


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[1:].mul_(2)
    torch.add(x[:1], 1, out=y[:1])
    y.t().add_(x.t())
    return y.relu_()


def gradient(x: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        weight = x.detach().requires_grad_()
        loss = F.conv2d(normal_once(), weight.view(2, 1, 2, 2)).square().sum() + weight.relu().sum()
        return (torch.autograd.grad(loss, [weight])[0],)


def normal_once() -> Tensor:
    return torch.linspace(-1, 1, 25, dtype=torch.float64).view(1, 1, 5, 5)


def split(x: Tensor) -> list[Tensor]:
    return [part * 2 for part in x.split(2)] + [torch.cat([x, x[None, 0]])]


def by_torch_func(x: Tensor) -> Tensor:
    return over_nodes(lambda row: torch.func.grad(lambda value: F.cross_entropy(value, torch.tensor(1)))(row))(x)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    "trees": (product, lambda: (Pair(normal(3), normal(2)), normal(3))),
    "in place": (in_place, lambda: (normal(3, 3),)),
    "autograd": (gradient, lambda: (normal(8),)),
    "several results": (split, lambda: (normal(4, 2),)),
    "torch.func": (by_torch_func, lambda: (normal(3, 5),)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replay_is_the_function_bit_for_bit(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    traced = Traced(function)
    for _ in range(CALLS):
        given = arguments()
        assert_equal(traced(*given), function(*given))
    assert [replay is not None for replay in traced._replays.values()] == [True]


def test_a_replay_does_not_run_the_function() -> None:
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(x)
        return x + 1

    traced = Traced(function)
    for _ in range(20):
        traced(torch.ones(2))
    assert len(calls) == 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 if x.sum() > 0 else -x,
        lambda x: x * float(x[0]),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[x > 0] / len(x[x > 0]),
        lambda x: x if torch.equal(x, x.abs()) else -x,
    ],
    ids=["branch", "item", "mask", "nonzero", "size", "equal"],
)
def test_what_depends_on_values_is_never_replayed(function: Callable[[Tensor], Tensor]) -> None:
    traced = Traced(function)
    for call in range(2 * CALLS):
        x = torch.tensor([1.0, -2.0, 3.0]) * (-1) ** (call // 2) + call % 3
        assert torch.equal(traced(x), function(x))


def test_what_is_untraced_is_called_in_each_replay() -> None:
    factor = [1.0]

    def scaled(x: Tensor) -> tuple[Tensor]:
        return (x * factor[0],)

    def function(x: Tensor) -> Tensor:
        return untraced(scaled, x + 1)[0] - 1

    def of_stack(x: Tensor) -> Tensor:
        return call_stacked(scaled, x + 1, traced=False)[0] - 1

    for traced in (Traced(function), Traced(over_nodes(of_stack)), Traced(of_stack)):
        for call in range(CALLS):
            factor[0] = float(call)
            assert torch.equal(traced(torch.ones(2, 2)), torch.full((2, 2), 2.0 * call - 1))


def test_what_refuses_a_trace_is_called_anew() -> None:
    calls = iter(range(100))

    def function(x: Tensor) -> Tensor:
        refuse_trace()
        return x + next(calls)

    traced = Traced(function)
    assert [float(traced(torch.zeros(()))) for _ in range(CALLS)] == [0, 1, 2, 3, 4]


def test_shapes_strides_and_tensors_that_are_one_and_the_same_have_traces_of_their_own() -> None:
    traced = Traced(lambda x, y: (x.reshape(-1) + y.reshape(-1), y))
    wide, square = normal(2, 3), normal(4, 4)
    for _ in range(CALLS):
        for x, y in [(wide, wide), (wide, wide + 1), (square, square.t()), (square.t(), square), (square, square + 1)]:
            total, same = traced(x, y)
            assert torch.equal(total, x.reshape(-1) + y.reshape(-1)) and same is y


def test_threads_may_share_a_traced_function() -> None:
    traced = Traced(over_nodes(lambda x: (x @ x).relu() + 1))
    wrong = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(30):
            x = torch.randn(4, 3, 3, generator=generator)
            if not torch.equal(traced(x), (x @ x).relu() + 1):
                wrong.append(x)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
