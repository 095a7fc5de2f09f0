"""Layers whose parameters multiply and shift single elements: normalizations and PReLU, with diagonal Fisher matrices.

The output is weight * features + bias, so that an example's gradients are g * features and g, each summed over the
elements that share a weight. The block holds the exact diagonal of the layer's Fisher matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.curvature.blocks import Diagonal
from ngpd_fl.curvature.layer import KFACApprox, Layer, Use
from ngpd_fl.curvature.moments import Sum, total


class DiagonalRule:
    """Base of the rules with a diagonal block."""

    block = Diagonal
    any_batch_axis = False

    def sizes(self, layer: Layer) -> tuple[int]:
        """Return the number of parameters."""
        return (sum(prod(segment.shape) for segment in layer.segments),)

    def views(self, layer: Layer, vectors: Tensor) -> list[Tensor]:
        """Return the weight and the bias, ``[n, 1, d]`` each."""
        return [segment.of(vectors).view(len(vectors), 1, -1) for segment in layer.segments]


class Elementwise(DiagonalRule, ABC):
    """The rule of such layers; subclasses give the features, and say which elements share a weight."""

    @abstractmethod
    def features(self, module: nn.Module, given: Tensor) -> Tensor:
        """Return what the weight multiplies, of the shape of ``given [B, ...]``."""

    @abstractmethod
    def per_weight(self, module: nn.Module, values: Tensor) -> Tensor:
        """Return the sums ``[B, d]`` of ``values [B, ...]`` over the elements that share a weight."""

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[Sum]:
        """Return the diagonal of the Fisher matrix."""
        squares = [
            torch.cat(self._of_examples(layer, uses, score), dim=1).square().sum(0)
            for score in range(len(uses[0].gradients))
        ]
        return (Sum(squares, 1 / len(uses[0].given)),)

    def gradients(self, layer: Layer, uses: Sequence[Use]) -> list[Tensor]:
        """Return the gradients, ``[1, d]`` each."""
        return [part.sum(0, keepdim=True) for part in self._of_examples(layer, uses, 0)]

    def _of_examples(self, layer: Layer, uses: Sequence[Use], score: int) -> list[Tensor]:
        """Return each example's gradients for the weight and (where it has one) bias, ``[B, d]`` each."""
        parts: list[list[Tensor]] = []
        for use in uses:
            gradients = use.gradients[score]
            part = []
            if layer.weight is not None:
                part.append(self.per_weight(use.module, gradients * self.features(use.module, use.given)))
            if layer.bias is not None:
                part.append(self.per_weight(use.module, gradients))
            parts.append(part)
        return [total(of_uses) for of_uses in zip(*parts, strict=True)]


class _OverChannels(Elementwise):
    """A weight for each channel of ``[B, C, ...]``."""

    def per_weight(self, module: Any, values: Tensor) -> Tensor:
        """Return the sums over all but examples and channels."""
        return values.reshape(values.shape[0], values.shape[1], -1).sum(2)


class GroupNorm(_OverChannels):
    """The rule of ``nn.GroupNorm``."""

    def features(self, module: Any, given: Tensor) -> Tensor:
        """Return the normalized input."""
        return F.group_norm(given, module.num_groups, eps=module.eps)


class InstanceNorm(_OverChannels):
    """The rule of ``nn.InstanceNorm1d``, ``nn.InstanceNorm2d`` and ``nn.InstanceNorm3d``."""

    def features(self, module: Any, given: Tensor) -> Tensor:
        """Return the normalized input."""
        return F.group_norm(given, module.num_features, eps=module.eps)


class PReLU(Elementwise):
    """The rule of ``nn.PReLU``; the identity of positive elements has no part in the gradient."""

    def features(self, module: Any, given: Tensor) -> Tensor:
        """Return the negative part of the input."""
        return given.clamp(max=0)

    def per_weight(self, module: Any, values: Tensor) -> Tensor:
        """Return the sums over all elements, or over those of a channel."""
        return values.reshape(values.shape[0], module.num_parameters, -1).sum(2)


class _OverLastAxes(Elementwise):
    """A weight for each element of the last axes, ``[B, ..., *normalized_shape]``."""

    any_batch_axis = True

    def per_weight(self, module: Any, values: Tensor) -> Tensor:
        """Return the sums over all axes between."""
        return values.reshape(values.shape[0], -1, prod(module.normalized_shape)).sum(1)


class LayerNorm(_OverLastAxes):
    """The rule of ``nn.LayerNorm``."""

    def features(self, module: Any, given: Tensor) -> Tensor:
        """Return the normalized input."""
        return F.layer_norm(given, module.normalized_shape, eps=module.eps)


class RMSNorm(_OverLastAxes):
    """The rule of ``nn.RMSNorm``."""

    def features(self, module: Any, given: Tensor) -> Tensor:
        """Return the normalized input."""
        return F.rms_norm(given, module.normalized_shape, eps=module.eps)
