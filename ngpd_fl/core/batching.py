"""Functions of one node and functions of a stack of nodes, and how each is called as the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from ngpd_fl.core.trace import untraced


def over_nodes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return one node's ``function`` for arguments and results whose every tensor has a leading axis of nodes.

    Several nodes are batched by ``torch.func.vmap``; one alone is called as it is, without its cost.
    """

    def stacked(*arguments: Any) -> Any:
        if _size(arguments) > 1:
            return vmap(function)(*arguments)
        alone = (_map(lambda tensor: tensor[0], argument) for argument in arguments)
        return _map(lambda tensor: tensor[None], function(*alone))

    return stacked


def call_stacked(
    function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor, traced: bool = True
) -> tuple[Tensor, ...]:
    """Return a stack's ``function`` of one node's ``tensors``: alone a stack of one, inside ``vmap`` the whole stack.

    vmap batches a function operation by operation. Where a better way is known to compute many nodes at once (products
    written straight to their place, or one node after another so that each stays in cache), it is called like this.
    The result is not differentiated. ``traced``: whether a trace may replay its operations; see ``core.trace``.
    """
    outputs: tuple[Tensor, ...] = _Stacked.apply(function if traced else partial(untraced, function), *tensors)
    return outputs


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(output[0] for output in function(*(tensor[None] for tensor in tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        stacked = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        )
        outputs = function(*stacked)
        return outputs, (0,) * len(outputs)


def _map(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Return the tree of tuples, lists, NamedTuples and dictionaries with ``function`` of every tensor in it."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    values = [_map(function, value) for value in tree]
    return tree._make(values) if hasattr(tree, "_make") else type(tree)(values)


def _size(tree: Any) -> int:
    """Return the number of nodes that are stacked, by its first tensor."""
    while not isinstance(tree, Tensor):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return len(tree)
