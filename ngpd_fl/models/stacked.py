"""Functions that are written for a stack of nodes and called for one: under ``torch.func.vmap`` they get the stack.

vmap batches a function operation by operation. Where a better way is known to compute many nodes at once (products
written straight to their place, or one node after another so that each stays in cache), the function is written for
tensors with a leading axis of nodes, and this is how an algorithm that is written for one node comes to call it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

StackedFunction = Callable[..., tuple[Tensor, ...]]
"""Tensors ``[n, ...]`` -> tensors ``[n, ...]``. It is not differentiated."""


def call_stacked(function: StackedFunction, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return ``function`` of one node's ``tensors``: alone a stack of one, inside a vmap over nodes all of them."""
    outputs: tuple[Tensor, ...] = _Stacked.apply(function, *tensors)  # type: ignore[no-untyped-call]
    return outputs


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(function: StackedFunction, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(output[0] for output in function(*(tensor[None] for tensor in tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], function: StackedFunction, *tensors: Tensor) -> Any:
        stacked = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        outputs = function(*stacked)
        return outputs, (0,) * len(outputs)
