"""Defaults of an algorithm: no edge constraints, steps all alike, and the state's ``params`` are evaluated."""

from __future__ import annotations

from strategies.contract import Phase, State
from strategies.lazy_torch import Tensor


class StrategyDefaults:
    """Base of an algorithm whose state has a field ``params``: the parameters that are evaluated."""

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return 0: there are no edge constraints."""
        return 0.0

    def phase(self, step: int) -> Phase:
        """Return the same for every step."""
        return Phase()

    def estimate(self, state: State) -> Tensor:
        """Return the parameters."""
        params: Tensor = state.params
        return params
