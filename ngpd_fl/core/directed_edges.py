"""Directed edges: their numbering, and the header of a message over one.

Edge e = (i, j), i < j, of a graph is two directed edges: number 2 e from i to j, and number 2 e + 1 from j to i. Arrays
over directed edges are in this order. Some have one entry more, for "no edge".
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from topologies import Weights

Edges = TypeVar("Edges", int, NDArray[np.int64])


BITMAP_BITS = 63
"""Messages that a header acknowledges: as many as a signed integer has bits without its sign."""


class EdgeHeader(NamedTuple):
    """Header of a message: the state of its edge, apart from the content.

    Attributes:
        sequence: messages that its sender had sent over the edge before.
        newest: sequence number of the newest message that its sender has applied of those that came the other way,
            -1 where there is none.
        bitmap: bit k is set if the message numbered ``newest - k`` was applied.
        round: its sender's round.
    """

    sequence: int
    newest: int
    bitmap: int
    round: int

    def is_consistent(self) -> bool:
        """Return whether the numbers are possible: one message a round, and none applied before it was sent."""
        sequence, newest, bitmap, round = self
        if not 0 <= sequence <= round:
            return False
        if newest < 0:
            return newest == -1 and bitmap == 0
        return bitmap & 1 == 1 and 0 < bitmap < 1 << min(BITMAP_BITS, newest + 1)


def reverse(edge: Edges) -> Edges:
    """Return the directed edge that runs the other way."""
    return edge ^ 1


def senders(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the node at which each directed edge begins, ``[2 E]``, of edges ``[E, 2]``."""
    return edges.reshape(-1)


def receivers(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the node at which each directed edge ends, ``[2 E]``, of edges ``[E, 2]``."""
    return edges[:, ::-1].reshape(-1)


def receiver_weights(weights: Weights) -> NDArray[np.float64]:
    """Return what each directed edge's receiver gives to its sender's value, ``[2 E]``."""
    return weights.edge[:, ::-1].reshape(-1)  # of edge (i, j) it is (W_ij, W_ji): i receives on 2 e + 1, j on 2 e
