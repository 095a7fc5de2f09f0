"""Layers that multiply vectors by a weight matrix: their Kronecker factors, and the rule of ``nn.Linear``.

A layer may do so at several positions of an example (places of an image, elements of a sequence), and in several calls:
the calls count as further positions (Martens, Ba, Johnson, "Kronecker-factored curvature approximations for recurrent
neural networks", ICLR 2018, with independent time steps). Two ways to treat the positions (Eschenhagen, Immer, Turner,
Schneider, Hennig, "Kronecker-factored approximate curvature for modern neural network architectures", NeurIPS 2023):

* **expand**: positions count as examples; A and G are those of ``moments``.
* **reduce**: one position for each example, whose a is the mean and whose g is the sum over the example's positions.

Each is exact for deep linear networks: expand where the loss is a sum over positions, reduce where the outputs are
averaged over positions before the loss. A bias alone is a layer that multiplies a 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from ngpd_fl.curvature.blocks import Kronecker
from ngpd_fl.curvature.layer import KFACApprox, Layer, Use
from ngpd_fl.curvature.moments import SecondMoment, total

_PIECE_BYTES = 2 << 20
"""Patches gathered at once on a CPU: more drop out of its caches before they are multiplied."""


class WeightMatrix(ABC):
    """The rule of layers with a weight matrix, or one for each of G groups; subclasses say what it multiplies.

    Without groups the axis G of the shapes below is left out.
    """

    block = Kronecker
    any_batch_axis = False

    def groups(self, module: nn.Module) -> int:
        """Return G; 1 without groups."""
        return 1

    @abstractmethod
    def matrix(self, module: nn.Module, weights: Tensor) -> Tensor:
        """Return ``weights [n, *shape]`` as a view ``[n, G, d_out, ...]``, whose last axes are the columns."""

    @abstractmethod
    def patches(self, module: nn.Module, given: Tensor) -> Tensor:
        """Return a view ``[B, ...]`` that holds what the layer multiplies, for ``vectors``."""

    @abstractmethod
    def vectors(self, module: nn.Module, patches: Tensor, *, ones: bool) -> Tensor:
        """Return the vectors a, example by example, ``[G, B positions, d_in]``; with a 1 at their end if asked for."""

    @abstractmethod
    def output_vectors(self, module: nn.Module, gradients: Tensor) -> Tensor:
        """Return the output gradients g in the same order, ``[G, B positions, d_out]``."""

    def sizes(self, layer: Layer) -> tuple[int, int, int]:
        """Return (d_out, d_in, G)."""
        groups, has_bias = self.groups(layer.module), layer.bias is not None
        if layer.weight is None:
            assert layer.bias is not None
            return prod(layer.bias.shape) // groups, 1, groups
        view = self.matrix(layer.module, torch.empty((1, *layer.weight.shape), device="meta"))
        d_out = view.shape[1 if groups == 1 else 2]
        return d_out, prod(layer.weight.shape) // (d_out * groups) + has_bias, groups

    def views(self, layer: Layer, vectors: Tensor) -> list[Tensor]:
        """Return the weight's columns and the bias's one, ``[n, G, d_out, ...]``."""
        views = []
        if layer.weight is not None:
            views.append(self.matrix(layer.module, layer.weight.of(vectors)))
        if layer.bias is not None:
            groups = self.groups(layer.module)
            shape = (-1, 1) if groups == 1 else (groups, -1, 1)
            views.append(layer.bias.of(vectors).view(len(vectors), *shape))
        return views

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[SecondMoment, SecondMoment]:
        """Return A and G."""
        size = len(uses[0].given)
        outputs = [[self.output_vectors(use.module, gradient) for gradient in use.gradients] for use in uses]
        rows = sum(of_use[0].shape[-2] for of_use in outputs)
        if approx == "reduce" and rows > size:
            sums = [total(_sums(part, size) for part in of_score) for of_score in zip(*outputs, strict=True)]
            inputs = total(
                torch.cat([_sums(part, count) for part, count in self._pieces(layer, use, size)], dim=-2)
                for use in uses
            )
            return SecondMoment([inputs * (size / rows)], 1 / size), SecondMoment(sums, 1 / size)
        pieces = (part for use in uses for part, _ in self._pieces(layer, use, size))
        return SecondMoment(pieces, 1 / size), SecondMoment([part for of_use in outputs for part in of_use], 1 / rows)

    def gradients(self, layer: Layer, uses: Sequence[Use]) -> list[Tensor]:
        """Return sum over examples, positions and uses of g a^T, by columns, ``[G, d_out, columns]``."""
        parts = []
        for use in uses:
            vectors = torch.cat([part for part, _ in self._pieces(layer, use, len(use.given))], dim=-2)
            parts.append(self.output_vectors(use.module, use.gradients[0]).mT @ vectors)
        matrix = total(parts)
        if layer.weight is None or layer.bias is None:
            return [matrix]
        return [matrix[..., :-1], matrix[..., -1:]]

    def _pieces(self, layer: Layer, use: Use, size: int) -> Iterator[tuple[Tensor, int]]:
        """Yield the vectors a of some examples, and how many these are."""
        if layer.weight is None:
            yield torch.ones_like(self.output_vectors(use.module, use.gradients[0])[..., :1]), size
            return
        patches = self.patches(use.module, use.given)
        step = self.examples_at_once(patches)
        for first in range(0, size, step):
            part = patches[first : first + step]
            yield self.vectors(use.module, part, ones=layer.bias is not None), len(part)

    def examples_at_once(self, patches: Tensor) -> int:
        """Return of how many examples the vectors are made at once."""
        if patches.device.type != "cpu":
            return len(patches)
        return max(1, _PIECE_BYTES // (prod(patches.shape[1:]) * patches.element_size()))


class Linear(WeightMatrix):
    """The rule of ``nn.Linear`` on ``[B, ..., d_in]``."""

    any_batch_axis = True

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[SecondMoment, SecondMoment]:
        """Return A and G, of many calls (as of a recurrent network) in one product each."""
        return super().moments(layer, [_as_one(uses)] if len(uses) > 1 else uses, approx)

    def matrix(self, module: nn.Module, weights: Tensor) -> Tensor:
        """Return the weights, which are in matrix form."""
        return weights

    def patches(self, module: nn.Module, given: Tensor) -> Tensor:
        """Return what it was given."""
        return given

    def vectors(self, module: nn.Module, patches: Tensor, *, ones: bool) -> Tensor:
        """Return the vectors of the last axis."""
        return (with_one(patches) if ones else patches).flatten(0, -2)

    def output_vectors(self, module: nn.Module, gradients: Tensor) -> Tensor:
        """Return the vectors of the last axis."""
        return gradients.flatten(0, -2)

    def examples_at_once(self, patches: Tensor) -> int:
        """Return all of them: nothing is gathered."""
        return len(patches)


def with_one(vectors: Tensor) -> Tensor:
    """Append the homogeneous 1 to the last axis."""
    return torch.cat([vectors, torch.ones_like(vectors[..., :1])], dim=-1)


def _as_one(uses: Sequence[Use]) -> Use:
    """Return several uses of a linear layer as one, on all their positions."""

    def positions(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.reshape(len(part), -1, part.shape[-1]) for part in parts], dim=1)

    gradients = zip(*(use.gradients for use in uses), strict=True)
    return Use(uses[0].module, positions([use.given for use in uses]), [positions(parts) for parts in gradients])


def _sums(vectors: Tensor, size: int) -> Tensor:
    """Return the sums over each example's positions, of ``[G, B positions, d]`` with ``size`` examples."""
    return vectors.unflatten(-2, (size, -1)).sum(-2)  # type: ignore
