"""Momentum tracking: gradient tracking with the momentum in the gradient's place.

Takezawa, Bao, Niwa, Sato, Yamada, "Momentum tracking: momentum acceleration for decentralized deep learning on
heterogeneous data", Transactions on Machine Learning Research, 2023 (arXiv:2209.15505), for all nodes at once:

    u <- beta u + g
    w <- W (w - mu (u - c'))
    c' <- W (c' - u) + u                             (on the right the c' of before, u the new one)              (1)

Here c = -c' is added, as in ``tracking``, whose exchange this is with u as the direction: z = u + c, w <- W (w - mu z)
and c <- c - z + W z = W (c + u) - u. At beta = 0 it is gradient tracking. The paper takes one step a round; with K
local steps u is carried on in each of them and z is the mean of u + c, as in K-GT. At rest u = g / (1 - beta) and c =
-u: the gradients sum to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Objective, Phase, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions
from strategies.parts.heavy_ball import accelerated
from strategies.parts.tracking import Tracker, TrackingExchange, start_tracker, tracked_step


class MomentumTrackingOptions(CompressibleGossipOptions):
    """Parameters of momentum tracking."""

    name: Literal["momentum-tracking"] = "momentum-tracking"
    momentum: float = Field(0.9, ge=0, lt=1, description="beta, heavy-ball momentum on the local gradient")

    spec: ClassVar[Spec] = Spec(directed="balanced", compress=("top-k", "random-k", "quantize"))


class MomentumTrackingState(NamedTuple):
    """Parameters ``[P]``, velocity u ``[P]`` and the tracker."""

    params: Tensor
    velocity: Tensor
    tracker: Tracker


@dataclass(frozen=True)
class MomentumTracking(TrackingExchange):
    """Momentum tracking (Takezawa et al. 2023), for one node."""

    options: MomentumTrackingOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> MomentumTrackingState:
        """Start at ``params``, at rest and without a correction."""
        return MomentumTrackingState(params, torch.zeros_like(params), start_tracker(params))

    def local_step(
        self, state: MomentumTrackingState, view: View, step: Step, phase: Phase
    ) -> tuple[MomentumTrackingState, StepInfo]:
        """Do one step along the momentum, with the correction."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        velocity = accelerated(gradient, state.velocity, self.options.momentum)
        params, tracker = tracked_step(state.params, state.tracker, velocity, self.options.lr * step.lr_scale)
        return MomentumTrackingState(params, velocity, tracker), StepInfo(loss, torch.ones_like(loss))
