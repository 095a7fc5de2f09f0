"""Convolutions of one to three dimensions, transposed ones too, as layers that multiply patches by a weight matrix.

Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", ICML 2016. Groups do not
see each other's inputs: each has factors of its own. A transposed convolution is, position by position of its output, a
convolution of the input with zeros between its elements, by the flipped kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ngpd_fl.curvature.weight_matrix import WeightMatrix


class Convolution(WeightMatrix):
    """The rule of ``nn.Conv1d``, ``nn.Conv2d`` and ``nn.Conv3d`` on ``[B, C, *space]``."""

    def groups(self, module: Any) -> int:
        """Return the convolution's groups."""
        return int(module.groups)

    def matrix(self, module: Any, weights: Tensor) -> Tensor:
        """Return ``weights [n, C_out, C_in / G, *kernel_size]`` as ``[n, G, C_out / G, columns]``."""
        matrix = weights.flatten(2)
        return matrix if module.groups == 1 else _split(matrix, 1, module.groups)

    def patches(self, module: Any, given: Tensor) -> Tensor:
        """Return ``[B, C, *output_space, *kernel_size]``."""
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        padded = F.pad(given, _padding(module), mode=mode)
        for axis, (size, dilation, stride) in enumerate(
            zip(module.kernel_size, module.dilation, module.stride, strict=True), start=2
        ):
            padded = padded.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return padded

    def vectors(self, module: Any, patches: Tensor, *, ones: bool) -> Tensor:
        """Return the patches as vectors; the positions of an image stay together."""
        space = (patches.dim() - 2) // 2
        kernel, output = range(2 + space, 2 + 2 * space), range(2, 2 + space)
        columns = patches.permute(1, *kernel, 0, *output).flatten(1 + space)
        columns = columns.flatten(0, space) if module.groups == 1 else _grouped(columns, module.groups)
        if ones:
            columns = torch.cat([columns, torch.ones_like(columns[..., :1, :])], dim=-2)
        return columns.mT

    def output_vectors(self, module: Any, gradients: Tensor) -> Tensor:
        """Return the gradients at each position, over channels."""
        columns = gradients.transpose(0, 1).flatten(1)
        return (columns if module.groups == 1 else _grouped(columns, module.groups)).mT


class TransposedConvolution(Convolution):
    """The rule of ``nn.ConvTranspose1d``, ``nn.ConvTranspose2d`` and ``nn.ConvTranspose3d``."""

    def matrix(self, module: Any, weights: Tensor) -> Tensor:
        """Return ``weights [n, C_in, C_out / G, *kernel_size]`` as ``[n, G, C_out / G, C_in / G, *kernel_size]``."""
        if module.groups == 1:
            return weights.transpose(1, 2)
        return _split(weights, 1, module.groups).transpose(2, 3)

    def patches(self, module: Any, given: Tensor) -> Tensor:
        """Return ``[B, C, *output_space, *kernel_size]``."""
        space = given.dim() - 2
        for axis, stride in enumerate(module.stride, start=2):
            spread = F.pad(given.unsqueeze(-1), (0, stride - 1)).movedim(-1, axis + 1).flatten(axis, axis + 1)
            given = spread.narrow(axis, 0, (given.shape[axis] - 1) * stride + 1)
        settings = zip(module.kernel_size, module.dilation, module.padding, module.output_padding, strict=True)
        around = [(dilation * (size - 1) - padding, more) for size, dilation, padding, more in settings]
        padded = F.pad(given, [end for before, more in reversed(around) for end in (before, before + more)])
        for axis, (size, dilation) in enumerate(zip(module.kernel_size, module.dilation, strict=True), start=2):
            padded = padded.unfold(axis, dilation * (size - 1) + 1, 1)[..., ::dilation]
        return padded.flip(list(range(2 + space, 2 + 2 * space)))


def _grouped(columns: Tensor, groups: int) -> Tensor:
    """Return ``[C, ..., M]`` as ``[G, C / G ..., M]``."""
    return _split(columns, 0, groups).flatten(1, -2)


def _split(tensor: Tensor, axis: int, groups: int) -> Tensor:
    """Return a view with the axis ``[G c]`` as ``[G, c]``."""
    split: Tensor = tensor.unflatten(axis, (groups, -1))  # type: ignore[no-untyped-call]
    return split


def _padding(module: Any) -> list[int]:
    """Return what ``F.pad`` takes; ``padding = "same"`` may be uneven, as in torch."""
    ends: list[tuple[int, int]] = []
    for axis, (size, dilation) in enumerate(zip(module.kernel_size, module.dilation, strict=True)):
        if module.padding == "same":
            total = dilation * (size - 1)
            ends.append((total // 2, total - total // 2))
        else:
            ends.append((0, 0) if module.padding == "valid" else (module.padding[axis],) * 2)
    return [end for pair in reversed(ends) for end in pair]
