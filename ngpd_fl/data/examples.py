"""Examples of a data set as arrays that are not checked yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WITHOUT_BYTES = {"1": "L", "P": "RGB", "PA": "RGBA"}
"""Pillow's modes whose values are bits or places in a palette, and those with the same colors as bytes."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Arrays that are not checked yet.

    Attributes:
        inputs: ``[M, ...]``.
        labels: classes ``[M]`` or targets ``[M, T]``.
        owners: the number of each example's owner, such as its writer, int64 ``[M]``; None if nobody owns any.
    """

    inputs: Any
    labels: Any
    owners: Tensor | None = None


def input_tensor(example: Any) -> Tensor:
    """Return an input as a tensor; a picture of Pillow as bytes ``[C, H, W]``, its colors in place of a palette's."""
    if isinstance(example, Tensor):
        return example
    if getattr(example, "mode", None) in _WITHOUT_BYTES:
        example = example.convert(_WITHOUT_BYTES[example.mode])
    values = np.array(example)
    if values.dtype.kind not in "biufc":
        raise ValueError(f"an input is a {type(example).__name__} of {values.dtype}; expected numbers or a picture")
    pixels = torch.from_numpy(values)
    if not hasattr(example, "getbands"):
        return pixels
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def stacked(values: list[Tensor], name: str) -> Tensor:
    """Return examples ``[M, ...]`` as one tensor; raise ``ValueError`` where one differs from the first."""
    if not values:
        raise ValueError(f"{name} are none")
    first = values[0]
    for index, value in enumerate(values):
        if value.shape != first.shape or value.dtype != first.dtype:
            shapes = [f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in (value, first)]
            raise ValueError(f"{name}[{index}] is {shapes[0]}, but the first is {shapes[1]}; all should be alike")
    return torch.stack(values)
