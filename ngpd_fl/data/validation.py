"""Held-out splits: validation examples, to choose settings, and test examples where a data set has none."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.core.randomness import Purpose, generator

TEST_EVERY = 5
"""Every fifth example of a data set that comes without a test split is in it, whatever the seed."""


def held_out_rows(labels: Tensor) -> Tensor:
    """Return which examples are test examples, bool ``[M]``: every fifth of a class, or of all without classes."""
    if labels.is_floating_point() or labels.ndim > 1:
        return torch.arange(len(labels)) % TEST_EVERY == TEST_EVERY - 1
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        is_test[torch.nonzero(labels == label).flatten()[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return is_test


def hold_out(
    labels: NDArray[np.int64], fraction: float, seed: int, node: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide examples into those that are kept and those that are held out, in the same proportions of classes.

    ``round(fraction * M)`` examples are held out; each class gives its share, rounded down or up (largest remainder).

    Args:
        labels: int64 ``[M]``.
        fraction: share that is held out, 0 <= fraction < 1.
        seed: keys which examples of a class are held out.
        node: likewise, where each node holds out its own.

    Returns:
        Sorted indices of the examples kept, and of those held out.

    Raises:
        InputError: a fraction above 0 holds out no example, or all.
    """
    held_size = round(fraction * len(labels))
    if fraction > 0 and not 0 < held_size < len(labels):
        raise InputError(
            f"data.validation_fraction: {fraction} of {len(labels)} training examples are {held_size}; "
            "both the validation and the training examples need at least one"
        )
    classes, counts = np.unique(labels, return_counts=True)
    share = fraction * counts
    quota = np.floor(share).astype(np.int64)
    missing = held_size - int(quota.sum())
    quota[np.argsort(quota - share, kind="stable")[:missing]] += 1

    rng = generator(seed, Purpose.VALIDATION, node)
    held = np.zeros(len(labels), dtype=bool)
    for label, size in zip(classes, quota, strict=True):
        held[rng.permutation(np.flatnonzero(labels == label))[:size]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
