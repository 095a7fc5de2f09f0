"""Functions of one node over a stack of them, against ``torch.func.vmap`` and a loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from ngpd_fl.core.batching import call_stacked, over_nodes


class State(NamedTuple):
    params: Tensor
    parts: dict[str, Tensor]
    empty: tuple[()] = ()


def function(state: State, given: tuple[Tensor, ...], scale: Tensor) -> tuple[State, Tensor]:
    """Something of every shape: a tree in and out, a constant, a sum of all."""
    total = state.params.sum() + sum(part.sum() for part in given)
    return State(scale * state.params, {"a": state.parts["a"] @ state.params, "b": torch.ones(2)}), total


def arguments(nodes: int) -> Any:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(nodes, *shape, generator=generator, dtype=torch.float64)

    return State(normal(3), {"a": normal(2, 3)}), (normal(), normal(4)), normal()


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_over_nodes_is_vmap(nodes: int) -> None:
    given, expected = over_nodes(function)(*arguments(nodes)), vmap(function)(*arguments(nodes))
    torch.testing.assert_close(given, expected)
    assert type(given[0]) is State


def test_an_error_leaves_no_batching_behind() -> None:
    def fail(values: Tensor) -> Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        over_nodes(fail)(torch.ones(3))
    torch.testing.assert_close(vmap(torch.sum)(torch.ones(2, 3)), torch.full((2,), 3.0))


@pytest.mark.parametrize("batching", [vmap, over_nodes])
def test_a_stacked_function_gets_the_whole_stack(batching: Any) -> None:
    seen: list[tuple[torch.Size, ...]] = []

    def products(matrices: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((matrices.shape, vectors.shape))
        return torch.bmm(matrices, vectors[:, :, None])[:, :, 0], vectors.sum(1)

    matrices, shared = torch.randn(4, 2, 3), torch.randn(3)
    given = batching(lambda matrix: call_stacked(products, matrix, shared))(matrices)
    torch.testing.assert_close(given, (matrices @ shared, shared.sum().expand(4)))
    assert seen == [((4, 2, 3), (4, 3))]
    alone = call_stacked(products, matrices[0], shared)
    torch.testing.assert_close(alone, (matrices[0] @ shared, shared.sum()))
    assert seen[1] == ((1, 2, 3), (1, 3))


def test_the_axis_of_nodes_may_lie_anywhere() -> None:
    columns = torch.randn(3, 5)
    given = vmap(lambda column: call_stacked(lambda rows: (rows.sum(1),), column)[0], in_dims=1)(columns)
    torch.testing.assert_close(given, columns.sum(0))
