"""Common base of the algorithms without constraints on the edges."""

from __future__ import annotations

from strategies.contract import Phase, State
from strategies.lazy_torch import Tensor


class Unconstrained:
    """Part of an algorithm without edge constraints, whose state has a field ``params``: the ones that are evaluated.

    Its steps are all alike, unless it says otherwise.
    """

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """There are no edge constraints."""
        return 0.0

    def phase(self, step: int) -> Phase:
        """Every step is the same."""
        return Phase()

    def estimate(self, state: State) -> Tensor:
        """Return the parameters."""
        params: Tensor = state.params
        return params
