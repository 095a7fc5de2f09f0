"""Several inputs of an example, such as token ids and a padding mask, packed into one row of numbers.

Batches, engines and K-FAC see one tensor ``[M, K]``; only the network's call takes it apart again. Where all inputs are
integers or bools, the row is int64. Otherwise it is floating-point, in which integers up to 2^24 are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

_EXACT = 1 << 24
"""Integers up to this one are exact in float32."""


class Field(NamedTuple):
    """One of several inputs.

    Attributes:
        name: the argument's name; None for inputs that are given by position.
        shape: of one example.
        dtype: of the network's argument; floating-point for numbers in the run's type.
    """

    name: str | None
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """The number of values of an example."""
        return prod(self.shape)


class Fields(NamedTuple):
    """The inputs of a network, in the order in which they lie in a row.

    Attributes:
        fields: the inputs.
    """

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, inputs: Mapping[str, Tensor] | Sequence[Tensor]) -> Fields:
        """Return the fields of tensors ``[M, ...]`` by name or position."""
        named = inputs.items() if isinstance(inputs, Mapping) else ((None, tensor) for tensor in inputs)
        return cls(tuple(Field(name, tuple(tensor.shape[1:]), _kind(tensor)) for name, tensor in named))

    @property
    def shapes(self) -> Any:
        """Shapes of one example's inputs: a dictionary by name, or a tuple by position."""
        if self.fields[0].name is None:
            return tuple(field.shape for field in self.fields)
        return {field.name: field.shape for field in self.fields}

    def pack(self, inputs: Mapping[str, Tensor] | Sequence[Tensor]) -> Tensor:
        """Return tensors ``[M, ...]`` as rows ``[M, K]``: int64, or float64 if one of them is floating-point.

        Raises:
            ValueError: an integer is too large for the type; the message is one line.
        """
        tensors = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
        is_float = any(field.dtype.is_floating_point for field in self.fields)
        for field, tensor in zip(self.fields, tensors, strict=True):
            if (
                is_float
                and field.dtype == torch.int64
                and tensor.numel()
                and max(-int(tensor.min()), int(tensor.max())) > _EXACT
            ):
                raise ValueError(f"{field.name or 'an input'} has integers beyond 2^24 beside floating-point inputs")
        dtype = torch.float64 if is_float else torch.int64
        rows = [tensor.reshape(len(tensor), -1).to(dtype) for tensor in tensors]
        return torch.cat([r / 255 if t.dtype == torch.uint8 else r for r, t in zip(rows, tensors, strict=True)], dim=1)

    def arguments(self, rows: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the arguments of the network by position and by name for rows ``[B, K]``."""
        pieces = torch.split(rows, [field.size for field in self.fields], dim=-1)
        values = [
            piece.reshape(len(rows), *field.shape).to(rows.dtype if field.dtype.is_floating_point else field.dtype)
            for field, piece in zip(self.fields, pieces, strict=True)
        ]
        named = zip(self.fields, values, strict=True)
        if self.fields[0].name is None:
            return values, {}
        return [], {field.name: value for field, value in named if field.name is not None}


def _kind(tensor: Tensor) -> torch.dtype:
    """Return the type of the network's argument: bytes are pixels."""
    if tensor.dtype == torch.bool:
        return torch.bool
    return torch.float64 if tensor.is_floating_point() or tensor.dtype == torch.uint8 else torch.int64
