"""Gradient tracking.

Di Lorenzo, Scutari, "NEXT: In-network nonconvex optimization", IEEE Transactions on Signal and Information Processing
over Networks 2, 2016; Nedic, Olshevsky, Shi, "Achieving geometric convergence for distributed optimization over
time-varying graphs", SIAM Journal on Optimization 27, 2017; with stochastic gradients (DSGT) Pu, Nedic, "Distributed
stochastic gradient tracking methods", Mathematical Programming 187, 2021:

    w(t+1) = W (w(t) - mu y(t))
    y(t+1) = W y(t) + g(t+1) - g(t),    y(0) = g(0)                                                              (1)

for all nodes at once. Here in the form with K local steps, K-GT, which is in ``tracking`` with the gradient as the
direction. At K = 1 its z is y of (1): z(t) = g(t) + c(t) and c(t+1) = c(t) - z(t) + W z(t) give

    z(t+1) = W z(t) + g(t+1) - g(t)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.contract import Objective, Phase, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions
from strategies.parts.tracking import Tracker, TrackingExchange, start_tracker, tracked_step


class GradientTrackingOptions(CompressibleGossipOptions):
    """Parameters of gradient tracking."""

    name: Literal["gradient-tracking"] = "gradient-tracking"

    spec: ClassVar[Spec] = Spec(directed="balanced", compress=("top-k", "random-k", "quantize"))


class GradientTrackingState(NamedTuple):
    """Parameters ``[P]`` and the tracker."""

    params: Tensor
    tracker: Tracker


@dataclass(frozen=True)
class GradientTracking(TrackingExchange):
    """Gradient tracking with local steps (Liu et al. 2024), for one node."""

    options: GradientTrackingOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> GradientTrackingState:
        """Start at ``params``, without a correction."""
        return GradientTrackingState(params, start_tracker(params))

    def local_step(
        self, state: GradientTrackingState, view: View, step: Step, phase: Phase
    ) -> tuple[GradientTrackingState, StepInfo]:
        """Do one SGD step with the correction."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        moved = tracked_step(state.params, state.tracker, gradient, self.options.lr * step.lr_scale)
        return GradientTrackingState(*moved), StepInfo(loss, torch.ones_like(loss))
