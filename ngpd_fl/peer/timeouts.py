"""Timeouts of the nodes of a peer."""

from __future__ import annotations

from typing import NamedTuple


class NodeTimeouts(NamedTuple):
    """Timeouts of a node in seconds.

    Attributes:
        start: for all neighbors before the first round; afterwards the run begins without the missing ones.
        round: for a message of the round; afterwards the message counts as lost.
    """

    start: float = 300.0
    round: float = 30.0


TIMEOUTS = NodeTimeouts()
"""The defaults."""
