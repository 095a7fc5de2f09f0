"""Messages in shorter numbers: any algorithm, with what it sends rounded to another floating-point type.

A node's own message is what its neighbours can read, also for itself: ``incoming`` gets the rounded one as ``outbox``,
so that a mirror of what a neighbour has applied stays exact. Duals of edge consensus hold rounded values, whose error
does not add up: each message replaces the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from strategies.contract import (
    Headers,
    Message,
    Phase,
    RoundView,
    State,
    Step,
    StepInfo,
    Strategy,
    StrategyOptions,
    View,
)

WIRE_TYPES: dict[Literal["float16", "bfloat16", "float32"], torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
"""By their names in the options."""


def wire_type(options: StrategyOptions) -> torch.dtype | None:
    """Return the type of the numbers in messages; None: that of the parameters."""
    return None if options.wire is None else WIRE_TYPES[options.wire]


@dataclass(frozen=True)
class Rounded:
    """An algorithm whose messages are rounded to ``wire``; see ``Strategy``."""

    strategy: Strategy
    wire: torch.dtype

    @property
    def options(self) -> StrategyOptions:
        """The algorithm's parameters."""
        return self.strategy.options

    def edge_penalty(self, degree: int, neighbour_degree: int, local_steps: int) -> float:
        """Return the algorithm's eta."""
        return self.strategy.edge_penalty(degree, neighbour_degree, local_steps)

    def phase(self, step: int) -> Phase:
        """Return the algorithm's phase."""
        return self.strategy.phase(step)

    def init(self, params: Tensor, view: View) -> State:
        """Start as the algorithm does."""
        return self.strategy.init(params, view)

    def local_step(self, state: State, view: View, step: Step, phase: Phase) -> tuple[State, StepInfo]:
        """Take the algorithm's step."""
        return self.strategy.local_step(state, view, step, phase)

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Return the algorithm's message, each number the nearest one of the type ``wire``."""
        message = self.strategy.outgoing(state, view, round_view)
        rounded: dict[str, Any] = {
            name: value.to(self.wire).to(value.dtype) if value.is_floating_point() else value
            for name, value in message._asdict().items()
        }
        return type(message)(**rounded)

    def incoming(
        self, state: State, view: View, round_view: RoundView, inbox: Message, outbox: Message, headers: Headers
    ) -> State:
        """Take in what the neighbours sent."""
        return self.strategy.incoming(state, view, round_view, inbox, outbox, headers)

    def estimate(self, state: State) -> Tensor:
        """Return the parameters that evaluation sees."""
        return self.strategy.estimate(state)
