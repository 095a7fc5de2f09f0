"""DeMuon: gradient tracking with Muon's orthogonalized momentum.

He, Ren, Mao, Larsson, "DeMuon: A decentralized Muon for matrix optimization over graphs", arXiv:2510.01377, 2025, for
each weight matrix and all nodes at once:

    M(t)   = beta M(t-1) + (1 - beta) g(t)
    V(t)   = W (V(t-1) + M(t) - M(t-1))
    w(t+1) = W (w(t) - mu msgn(V(t)))                                                                            (1)

msgn is the matrix sign, see ``muon``. So what is orthogonalized is an estimate of the mean momentum of all nodes: the
mean of their own signs would be no direction of descent of the sum. The text of the paper was not at hand: (1) is as
optimizer collections state it.

(1) exchanges twice for one gradient, V before its sign is taken and then w. Here one exchange carries both, as in all
algorithms with tracking (``tracking``), with M as the direction: the sign is taken of z = M + c, where

    z(t+1) = W z(t) + M(t+1) - M(t),    V(t) = W z(t)                                                            (2)

whose mean over the nodes is that of M as well. The paper takes one step a round; with K local steps M is carried on in
each of them, the sign is that of M + c, and z is the mean of M + c over the K steps, as in K-GT.

Steps along a sign are as long however small the gradient is: at a constant mu the nodes do not rest, but stay about mu
away from a stationary point of the sum. Let mu fall (``training.lr_schedule``) to come nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.contract import Objective, Phase, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.muon import MuonOptions, muon_step
from strategies.parts.tracking import Tracker, TrackingExchange, start_tracker, tracked


class DeMuonOptions(MuonOptions):
    """Parameters of DeMuon."""

    name: Literal["demuon"] = "demuon"

    spec: ClassVar[Spec] = Spec(directed="balanced")


class DeMuonState(NamedTuple):
    """Parameters ``[P]``, the momentum M ``[P]`` and its tracker."""

    params: Tensor
    momentum: Tensor
    tracker: Tracker


@dataclass(frozen=True)
class DeMuon(TrackingExchange):
    """DeMuon (He et al. 2025), for one node."""

    options: DeMuonOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> DeMuonState:
        """Start at ``params``, at rest and without a correction."""
        return DeMuonState(params, torch.zeros_like(params), start_tracker(params))

    def local_step(self, state: DeMuonState, view: View, step: Step, phase: Phase) -> tuple[DeMuonState, StepInfo]:
        """Do one step along the sign of the tracked momentum."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        momentum = torch.lerp(gradient, state.momentum, self.options.momentum)
        change = muon_step(momentum + state.tracker.correction, self.objective.matrices, self.options)
        params = torch.addcmul(state.params, change, -step.lr_scale)
        return DeMuonState(params, momentum, tracked(state.tracker, momentum)), StepInfo(loss, torch.ones_like(loss))
