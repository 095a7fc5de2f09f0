"""Exact diffusion, with local steps.

Yuan, Ying, Zhao, Sayed, "Exact diffusion for distributed optimization and learning", parts I and II, IEEE Transactions
on Signal Processing 67, 2019: adapt, correct, combine,

    psi(t+1) = w(t) - mu g(t)
    phi(t+1) = psi(t+1) + w(t) - psi(t)
    w(t+1)   = W~ phi(t+1),    W~ = (I + W) / 2                                                                  (1)

Alghunaim, "Local exact-diffusion for decentralized optimization and learning", IEEE Transactions on Automatic Control
69, 2024, takes K steps before it combines. With beta = 1 / K and a dual y that starts at 0,

    phi <- phi - mu g(phi) - beta y                                                 (K times a round, from phi = w)
    w <- W~ phi,    y <- y + phi - w                                                (once a round)               (2)

and K = 1 is (1). The state holds c = y / K, which is corrected by (phi - w) / K at the end of a round, when its steps
have been counted: (2) without knowing K beforehand. At rest w = W~ phi = phi, hence all nodes agree and each has c =
-mu g; the c sum to 0 where W is doubly stochastic and every message arrives, hence so do the gradients.

(1) is D2 (see ``d2``), with two vectors kept instead of three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange, ParamsMessage, flow


class ExactDiffusionOptions(CompressibleGossipOptions):
    """Parameters of exact diffusion."""

    name: Literal["exact-diffusion"] = "exact-diffusion"

    spec: ClassVar[Spec] = Spec(compress=("top-k", "random-k", "quantize"))


class ExactDiffusionState(NamedTuple):
    """Parameters ``[P]``, the correction c of a step ``[P]``, and the steps taken in this round, float ``[]``."""

    params: Tensor
    correction: Tensor
    steps: Tensor


@dataclass(frozen=True)
class ExactDiffusion(GossipExchange):
    """Exact diffusion with local steps (Alghunaim 2024), for one node."""

    options: ExactDiffusionOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> ExactDiffusionState:
        """Start at ``params``, without a correction."""
        return ExactDiffusionState(params, torch.zeros_like(params), params.new_zeros(()))

    def local_step(
        self, state: ExactDiffusionState, view: View, step: Step, phase: Phase
    ) -> tuple[ExactDiffusionState, StepInfo]:
        """Do one corrected SGD step."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        params = torch.addcmul(state.params, gradient, -self.options.lr * step.lr_scale) - state.correction
        moved = ExactDiffusionState(params, state.correction, state.steps + 1)
        return moved, StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: ExactDiffusionState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> ExactDiffusionState:
        """Combine with the neighbors that were heard; correct by what that has changed."""
        weights = round_view.weight_in / 2
        moved = flow(outbox.params, inbox.params, weights, headers.received, self.options.clip)
        correction = state.correction - moved / state.steps.clamp(min=1)
        return ExactDiffusionState(state.params + moved, correction, torch.zeros_like(state.steps))
