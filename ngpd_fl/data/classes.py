"""Class labels: integers from 0, each of which should occur."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from torch import Tensor

logger = logging.getLogger(__name__)

RENUMBER = "np.unique(labels, return_inverse=True)[1] numbers the classes of all labels together from 0"
"""The remedy for labels that are no classes 0 to C - 1."""


def count_classes(name: str, labels: Sequence[Tensor]) -> int:
    """Return C, the largest label of some splits plus one; log which smaller ones never occur.

    Args:
        name: of the data set.
        labels: of each split, int64 ``[M]``.

    Raises:
        ValueError: more labels never occur than do: outputs and records would be made for classes that are not there.
    """
    present = np.unique(np.concatenate([np.unique(of_split.numpy()) for of_split in labels]))
    num_classes = int(present[-1]) + 1
    if missing := num_classes - len(present):
        verb = "never occurs" if missing == 1 else "never occur"
        words = f"the largest label is {present[-1]}, but {absent(present.tolist(), num_classes)} {verb}"
        if missing > len(present):
            raise ValueError(f"{words}; expected classes 0 to C - 1: {RENUMBER}")
        logger.warning("%s: %s; the network gets outputs for all of them. %s", name, words, RENUMBER)
    return num_classes


def absent(present: Sequence[int], num_classes: int) -> str:
    """Return which of the classes 0 to C - 1 are not among some, in ascending order, as text: ``0, 3 to 7``."""
    edges = [-1, *present, num_classes]
    gaps = [(low + 1, high - 1) for low, high in zip(edges, edges[1:], strict=False) if high - low > 1]
    spans = [str(low) if low == high else f"{low} to {high}" for low, high in gaps]
    return ", ".join(spans[:8]) + (", ..." if len(spans) > 8 else "")
