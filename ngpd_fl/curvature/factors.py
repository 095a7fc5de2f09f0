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

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def layer_inputs(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return the vectors a that the layer multiplies by its weight matrix, ``[B, positions, d_in]``.

    Args:
        layer: a ``nn.Linear`` or a ``nn.Conv2d`` with groups = 1 and zero padding.
        inputs: what the layer was given, ``[B, ..., d_in]`` or ``[B, C, H, W]``.
    """
    if isinstance(layer, nn.Conv2d):
        inputs = F.pad(inputs, _padding(layer))
        patches = F.unfold(inputs, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
        vectors = patches.transpose(1, 2)
    else:
        vectors = inputs.reshape(inputs.shape[0], -1, inputs.shape[-1])
    if layer.bias is None:
        return vectors
    ones = torch.ones_like(vectors[..., :1])
    return torch.cat([vectors, ones], dim=-1)


def output_vectors(layer: nn.Module, gradients: Tensor) -> Tensor:
    """Return the output gradients g as ``[B, positions, d_out]``; given as ``[B, ..., d_out]`` or ``[B, C, H, W]``."""
    if isinstance(layer, nn.Conv2d):
        return gradients.flatten(2).transpose(1, 2)
    return gradients.reshape(gradients.shape[0], -1, gradients.shape[-1])


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


def moment_vectors(layer: nn.Module, inputs: Tensor, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return vectors v ``[M, d]`` whose sum of v v^T is A, and others for G; for a normalization, F itself.

    Args:
        layer: a ``nn.Linear`` or a ``nn.Conv2d``, as for ``layer_inputs``, or a normalization.
        inputs: what the layer was given.
        gradients: the output gradients, once for each score of an example.
    """
    size = inputs.shape[0]
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        of_examples = [torch.cat(norm_gradients(layer, inputs, gradient), dim=1) for gradient in gradients]
        return (torch.cat(of_examples) / sqrt(size),)
    given = [output_vectors(layer, gradient).flatten(0, 1) for gradient in gradients]
    outputs = torch.cat(given) / sqrt(given[0].shape[0])
    return layer_inputs(layer, inputs).flatten(0, 1) / sqrt(size), outputs


def average_moment(running: Tensor, vectors: Tensor, decay: float, share: Tensor) -> Tensor:
    """Return decay * running + share * (sum of v v^T over the rows v of ``vectors [M, d]``).

    ``running`` is ``[d, d]``; or ``[d]``, of which the diagonal is meant.
    """
    if running.dim() == 1:
        return decay * running + share * vectors.square().sum(0)
    return torch.addmm(running, vectors.t(), share * vectors, beta=decay)


def parameter_gradients(layer: nn.Module, inputs: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
    """Return the batch's gradient for the layer's weight and (where it has one) bias, summed over the examples.

    The weight's has shape ``[d_out, d_in]``, or ``[d]`` for a normalization.
    """
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        return tuple(part.sum(0) for part in norm_gradients(layer, inputs, gradients))
    matrix = output_vectors(layer, gradients).flatten(0, 1).t() @ layer_inputs(layer, inputs).flatten(0, 1)
    return (matrix,) if layer.bias is None else (matrix[:, :-1], matrix[:, -1])


def _padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom); ``padding = "same"`` may be uneven, as in torch."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    if layer.padding == "same":
        total = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
        return (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2)
    assert not isinstance(layer.padding, str)
    return (layer.padding[1], layer.padding[1], layer.padding[0], layer.padding[0])
