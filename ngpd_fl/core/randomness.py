"""Keyed randomness: every draw is a function of (seed, purpose, node, step), never of the order of calls.

That is what makes a naive loop, the vectorized engine, a Flower client and an event queue follow one trajectory.
Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so a key is enough:
no generator has to be kept or advanced.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purpose of a draw. A number, once given, is never reused: recorded runs depend on it."""

    PARTITION = 1
    VALIDATION = 2
    BATCH = 3
    LABELS = 4
    LOSS = 5
    MODEL = 6
    TOPOLOGY = 7  # the package topologies draws graphs by 7 and schedules by 8
    SCHEDULE = 8
    AUGMENTATION = 9
    NOISE = 10
    DEVICE = 11
    JITTER = 12
    AVAILABILITY = 13
    MESSAGE_FAULT = 14
    BYZANTINE = 15
    PLACEMENT = 16
    DROPOUT = 17


def generator(seed: int, purpose: Purpose, node: int = 0, step: int = 0) -> np.random.Generator:
    """Return the generator of this key.

    The lowest word of Philox' 256-bit counter runs as numbers are drawn; the key's parts fill the others, so that
    two keys never overlap within 2**64 draws.

    Args:
        seed: the run's seed, 0 <= seed < 2**64.
        purpose: what the draw is for.
        node: node index, or edge index for draws that belong to an edge.
        step: local step, epoch, round or image, whichever the purpose counts in.
    """
    return np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, step, node, int(purpose)]))


def torch_seed(seed: int, purpose: Purpose) -> int:
    """Return a 63-bit seed for a ``torch.Generator``, for draws that only torch can make (a model's start)."""
    return int(generator(seed, purpose).integers(2**63))
