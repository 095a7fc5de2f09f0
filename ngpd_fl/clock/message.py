"""A message as the clock sees it."""

from __future__ import annotations

from typing import NamedTuple


class TimedMessage(NamedTuple):
    """A message that is on its way or has come.

    Attributes:
        sequence: messages sent over its edge before.
        round: its sender's round.
        reads: rounds that its receiver had ended when it was sent.
        answers: the newest message that its sender had taken in from its receiver; -1: none.
    """

    sequence: int
    round: int
    reads: int
    answers: int
