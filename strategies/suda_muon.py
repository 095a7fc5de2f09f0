"""SUDA-Muon: a primal-dual exchange of the parameters, with Muon's orthogonalized momentum as the direction.

Zhang, Kong, Geng, Huang, "SUDA-Muon: Structural design principles and boundaries for fully decentralized Muon",
arXiv:2604.23980, 2026. The template is SUDA (Alghunaim, Yuan, "A unified and refined convergence analysis for
non-convex decentralized learning", IEEE Transactions on Signal Processing 70, 2022), for all nodes at once, d the
direction:

    w(t+1) = A (C w(t) - mu d(t)) - B y(t)
    y(t+1) = y(t) + B w(t+1),    y(0) = 0                                                                        (1)

``template`` chooses A, B and C, with W~ = (I + W) / 2 as in ``exact_diffusion`` and B B = I - W~ in both:

    ed       A = W~, C = I     w(t+2) = W~ (2 w(t+1) - w(t) - mu (d(t+1) - d(t)))        exact diffusion, D2
    extra    A = I,  C = W~    w(t+2) = W~ (2 w(t+1) - w(t)) - mu (d(t+1) - d(t))        EXTRA

Before a sign is taken the momentum is tracked, as the paper finds necessary: without, the nodes' signs cancel at points
that are not stationary. So d = msgn(z) (``muon``) of the tracked momentum z = M + c (``tracking``), as in ``demuon``.
The text of the paper was not at hand: (1) is SUDA's, its templates and the order of tracking, sign and exchange are
those of the abstract. The template of gradient tracking is left out: it would send a third vector.

With K local steps the correction of a step is 1 / K of what (1) subtracts, as in local exact diffusion, and z is the
mean of M + c over them. With q = B y, one exchange of w gives m = W~ w - w of the vector that was sent, q <- q - m, and

    ed       w <- w + m,  and the next K steps subtract q
    extra    w stays,     and the next K steps subtract q - m

At a constant mu the nodes do not rest, as with ``demuon``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import flow
from strategies.parts.muon import MuonOptions, muon_step
from strategies.parts.tracking import Tracker, TrackingExchange, TrackingMessage, corrected, start_tracker, tracked


class SUDAMuonOptions(MuonOptions):
    """Parameters of SUDA-Muon."""

    name: Literal["suda-muon"] = "suda-muon"
    template: Literal["ed", "extra"] = Field(
        "ed", description="how parameters are exchanged: ed (as exact diffusion) or extra (as EXTRA)"
    )

    spec: ClassVar[Spec] = Spec()


class SUDAMuonState(NamedTuple):
    """Parameters ``[P]``, the momentum M ``[P]``, its tracker, q / K ``[P]``, and what a step subtracts ``[P]``."""

    params: Tensor
    momentum: Tensor
    tracker: Tracker
    dual: Tensor
    correction: Tensor


@dataclass(frozen=True)
class SUDAMuon(TrackingExchange):
    """SUDA-Muon (Zhang et al. 2026), for one node."""

    options: SUDAMuonOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> SUDAMuonState:
        """Start at ``params``, at rest and without a correction."""
        zero = torch.zeros_like(params)
        return SUDAMuonState(params, zero, start_tracker(params), zero, zero)

    def local_step(self, state: SUDAMuonState, view: View, step: Step, phase: Phase) -> tuple[SUDAMuonState, StepInfo]:
        """Do one corrected step along the sign of the tracked momentum."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        momentum = torch.lerp(gradient, state.momentum, self.options.momentum)
        change = muon_step(momentum + state.tracker.correction, self.objective.matrices, self.options)
        params = torch.addcmul(state.params, change, -step.lr_scale) - state.correction
        moved = state._replace(params=params, momentum=momentum, tracker=tracked(state.tracker, momentum))
        return moved, StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: SUDAMuonState,
        view: View,
        round_view: RoundView,
        inbox: TrackingMessage,
        outbox: TrackingMessage,
        headers: Headers,
    ) -> SUDAMuonState:
        """Exchange w by the template, and correct c, with the neighbors that were heard."""
        weights, received, clip = round_view.weight_in, headers.received, self.options.clip
        moved = flow(outbox.params, inbox.params, weights / 2, received, clip)
        of_step = moved / state.tracker.steps.clamp(min=1)
        tracker = corrected(state.tracker, flow(outbox.direction, inbox.direction, weights, received, clip))
        dual = state.dual - of_step
        if self.options.template == "ed":
            return SUDAMuonState(state.params + moved, state.momentum, tracker, dual, dual)
        return SUDAMuonState(state.params, state.momentum, tracker, dual, dual - of_step)
