"""Tensors of double precision, in which tests compare with closed forms."""

from __future__ import annotations

import torch
from torch import Tensor


def scalar(value: float) -> Tensor:
    """Return a number as ``[]``."""
    return torch.tensor(value, dtype=torch.float64)
