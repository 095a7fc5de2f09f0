"""An algorithm inside another: what a wrapper of messages does not change."""

from __future__ import annotations

from dataclasses import dataclass

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
from strategies.lazy_torch import Tensor


@dataclass(frozen=True)
class Wrapped:
    """A ``strategy`` as it is; see ``Strategy``."""

    strategy: Strategy

    @property
    def options(self) -> StrategyOptions:
        """The algorithm's parameters."""
        return self.strategy.options

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return the algorithm's eta."""
        return self.strategy.edge_penalty(degree, neighbor_degree, local_steps)

    def phase(self, step: int) -> Phase:
        """Return the algorithm's phase."""
        return self.strategy.phase(step)

    def init(self, params: Tensor, view: View) -> State:
        """Start as the algorithm does."""
        return self.strategy.init(params, view)

    def local_step(self, state: State, view: View, step: Step, phase: Phase) -> tuple[State, StepInfo]:
        """Do the algorithm's step."""
        return self.strategy.local_step(state, view, step, phase)

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Return the algorithm's message."""
        return self.strategy.outgoing(state, view, round_view)

    def incoming(
        self, state: State, view: View, round_view: RoundView, inbox: Message, outbox: Message, headers: Headers
    ) -> State:
        """Apply the messages of the neighbors."""
        return self.strategy.incoming(state, view, round_view, inbox, outbox, headers)

    def estimate(self, state: State) -> Tensor:
        """Return the parameters that evaluation sees."""
        return self.strategy.estimate(state)
