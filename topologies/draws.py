"""Keyed randomness: every draw is a function of (seed, purpose, round), never of the order of calls.

Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so a key is enough:
no generator has to be kept or advanced, and every engine sees the same graph in the same round.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The purpose of a draw. Recorded runs depend on these numbers; others use 1 to 6 with the same seed."""

    GRAPH = 7
    SCHEDULE = 8


def generator(seed: int, purpose: Purpose, round: int = 0) -> np.random.Generator:
    """Return the generator of this key.

    The lowest word of Philox' 256-bit counter runs as numbers are drawn; the key's parts fill the others.
    """
    return np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, round, 0, int(purpose)]))
