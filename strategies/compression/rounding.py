"""Rounding of messages: any algorithm, with what it sends rounded to another floating-point type.

A node's own message is what its neighbors can read, also for itself: ``incoming`` gets the rounded one as ``outbox``,
so that a mirror of what a neighbor has applied stays exact. Duals of edge consensus hold rounded values, whose error
does not add up: each message replaces the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strategies.compression.wrapper import Wrapped
from strategies.contract import Message, RoundView, State, StrategyOptions, View
from strategies.lazy_torch import Tensor, torch


def message_dtype(options: StrategyOptions) -> torch.dtype | None:
    """Return the type of the numbers in messages; None: that of the parameters."""
    return None if options.message_dtype is None else getattr(torch, options.message_dtype)


def sent_dtype(value: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Return the type in which a message's field travels: ``dtype``, if there is one and these are real numbers."""
    return dtype if dtype is not None and value.is_floating_point() else value.dtype


@dataclass(frozen=True)
class Rounded(Wrapped):
    """An algorithm whose messages are rounded to the type ``dtype``; see ``Strategy``."""

    dtype: torch.dtype

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Return the algorithm's message, each number the nearest one of the type ``dtype``."""
        message = self.strategy.outgoing(state, view, round_view)
        rounded: dict[str, Any] = {
            name: value.to(sent_dtype(value, self.dtype)).to(value.dtype) for name, value in message._asdict().items()
        }
        return type(message)(**rounded)
