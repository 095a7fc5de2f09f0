"""Kronecker factors and diagonals of one layer, from its inputs and its output gradients. Pure functions.

Conventions of Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML
2015 (linear layers), and Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for convolution
layers", ICML 2016: with a the layer's input (a patch for a convolution, a homogeneous 1 appended where there is a
bias) and g the gradient of a *single example's* loss with respect to the layer's output,

    A = sum over positions, mean over the batch, of a a^T          [d_in, d_in]
    G = mean over batch and positions of g g^T                     [d_out, d_out]

and the layer's Fisher matrix is A (x) G. A linear layer on ``[B, d_in]`` has one position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PIECE_BYTES = 2 << 20
"""Patches gathered at once on a CPU: more drop out of its caches before they are multiplied."""


class Moment(NamedTuple):
    """``weight`` times the sum of v v^T over the rows v of all ``pieces``, ``[M, d]`` each."""

    pieces: Iterable[Tensor]
    weight: float


def layer_inputs(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return the vectors a that the layer multiplies by its weight matrix, ``[B positions, d_in]``.

    Args:
        layer: a ``nn.Linear`` or a ``nn.Conv2d`` with groups = 1 and zero padding.
        inputs: what the layer was given, ``[B, ..., d_in]`` or ``[B, C, H, W]``.
    """
    if isinstance(layer, nn.Conv2d):
        return _patch_vectors(layer, _patches(layer, inputs))
    return with_one(layer, inputs).flatten(0, -2)


def with_one(layer: nn.Module, vectors: Tensor) -> Tensor:
    """Append the homogeneous 1 to the last axis where the layer has a bias."""
    return vectors if layer.bias is None else torch.cat([vectors, torch.ones_like(vectors[..., :1])], dim=-1)


def output_vectors(layer: nn.Module, gradients: Tensor) -> Tensor:
    """Return the output gradients g, ``[B positions, d_out]``; given as ``[B, ..., d_out]`` or ``[B, C, H, W]``."""
    if isinstance(layer, nn.Conv2d):  # rows of an image stay together
        return gradients.transpose(0, 1).flatten(1).t()
    return gradients.flatten(0, -2)


def norm_gradients(layer: nn.Module, inputs: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
    """Return each example's gradient for a normalization's weight and (where it has one) bias, ``[B, d]`` each.

    The output is weight * normalized + bias, so they are g * normalized, and g, summed over the example's positions.

    Args:
        layer: a ``nn.GroupNorm`` or a ``nn.LayerNorm``.
        inputs: what the layer was given, ``[B, C, ...]`` or ``[B, ..., *normalized_shape]``.
        gradients: g, of the same shape.
    """
    if isinstance(layer, nn.GroupNorm):
        normalized = F.group_norm(inputs, layer.num_groups, eps=layer.eps)
        shape, positions = (inputs.shape[0], layer.num_channels, -1), 2
    else:
        assert isinstance(layer, nn.LayerNorm)
        normalized = F.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
        shape, positions = (inputs.shape[0], -1, prod(layer.normalized_shape)), 1
    of_weight = (gradients * normalized).reshape(shape).sum(positions)
    of_bias = gradients.reshape(shape).sum(positions)
    return (of_weight,) if layer.bias is None else (of_weight, of_bias)


def layer_moments(layer: nn.Module, inputs: Tensor, gradients: Sequence[Tensor]) -> tuple[Moment, ...]:
    """Return A and G; for a normalization, F itself.

    Args:
        layer: a ``nn.Linear`` or a ``nn.Conv2d``, as for ``layer_inputs``, or a normalization.
        inputs: what the layer was given.
        gradients: the output gradients, once for each score of an example.
    """
    size = inputs.shape[0]
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        of_examples = [torch.cat(norm_gradients(layer, inputs, gradient), dim=1) for gradient in gradients]
        return (Moment(of_examples, 1 / size),)
    given = [output_vectors(layer, gradient) for gradient in gradients]
    outputs = Moment(given, 1 / given[0].shape[0])
    if not isinstance(layer, nn.Conv2d):
        return Moment([layer_inputs(layer, inputs)], 1 / size), outputs
    patches = _patches(layer, inputs)
    at_once = max(1, _PIECE_BYTES // (prod(patches.shape[1:]) * patches.element_size()))
    step = at_once if inputs.device.type == "cpu" else size
    pieces = (_patch_vectors(layer, patches[first : first + step]) for first in range(0, size, step))
    return Moment(pieces, 1 / size), outputs


def average_moment(running: Tensor, moment: Moment, decay: float, share: float | Tensor) -> Tensor:
    """Return decay * running + share * moment, or, for ``running [d]`` instead of ``[d, d]``, its diagonal."""
    scale = share * moment.weight
    for vectors in moment.pieces:
        if running.dim() == 1:
            running = decay * running + scale * vectors.square().sum(0)
        elif isinstance(scale, Tensor):
            running = torch.addmm(running, vectors.t(), scale * vectors, beta=decay)
        else:
            running = torch.addmm(running, vectors.t(), vectors, beta=decay, alpha=scale)
        decay = 1.0
    return running


def parameter_gradients(layer: nn.Module, inputs: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
    """Return the batch's gradient for the layer's weight and (where it has one) bias, summed over the examples.

    The weight's has shape ``[d_out, d_in]``, or ``[d]`` for a normalization.
    """
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        return tuple(part.sum(0) for part in norm_gradients(layer, inputs, gradients))
    matrix = output_vectors(layer, gradients).t() @ layer_inputs(layer, inputs)
    return (matrix,) if layer.bias is None else (matrix[:, :-1], matrix[:, -1])


def _patches(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return a view of the convolution's patches, ``[B, C, h, w, *kernel_size]``; ``h`` and ``w`` are its output's."""
    patches = F.pad(inputs, _padding(layer))
    settings = zip(layer.kernel_size, layer.dilation, layer.stride, strict=True)
    for axis, (size, dilation, stride) in zip((2, 3), settings, strict=True):
        patches = patches.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return patches


def _patch_vectors(layer: nn.Conv2d, patches: Tensor) -> Tensor:
    """Return ``patches [B, C, h, w, *kernel_size]`` as the vectors that the layer multiplies, ``[B h w, d_in]``."""
    columns = patches.permute(1, 4, 5, 0, 2, 3).flatten(3).flatten(0, 2)  # rows of an image stay together
    if layer.bias is not None:
        columns = torch.cat([columns, torch.ones_like(columns[:1])])
    return columns.t()


def _padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom); ``padding = "same"`` may be uneven, as in torch."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    if layer.padding == "same":
        total = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
        return (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2)
    assert not isinstance(layer.padding, str)
    return (layer.padding[1], layer.padding[1], layer.padding[0], layer.padding[0])
