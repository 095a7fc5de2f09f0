"""Messages sent over the directed edges in a round, and those of them that arrive.

Edge e = (i, j), i < j, is directed edge 2 e from i to j and 2 e + 1 back. The engine and a relay between processes get
the same result here: a function of (seed, round) alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.randomness import Purpose, generator
from topologies import Topology


class Traffic(NamedTuple):
    """A round's messages by directed edge.

    Attributes:
        sent: edges on which a message is sent, bool ``[2 E]``.
        delivered: edges whose message arrives, bool ``[2 E]``.
    """

    sent: NDArray[np.bool_]
    delivered: NDArray[np.bool_]


def traffic(topology: Topology, message_loss: float, seed: int, round: int) -> Traffic:
    """Return round ``round``'s messages, each lost with probability ``message_loss``."""
    sent = topology.sent(round)
    if message_loss == 0:
        return Traffic(sent, sent)
    return Traffic(sent, sent & (generator(seed, Purpose.LOSS, step=round).random(len(sent)) >= message_loss))
