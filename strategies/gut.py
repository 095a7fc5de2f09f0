"""GUT: global update tracking, and with quasi-global momentum QG-GUTm.

Aketi, Hashemi, Roy, "Global update tracking: a decentralized learning algorithm for heterogeneous data", NeurIPS 2023
(arXiv:2305.04792). For all nodes at once, with x the parameters that are sent, z = W x, and g the gradients at z:

    delta(t) = g(t) - (z(t) - x(t)) / mu
    y(t)     = delta(t) + s [ (x(t-1) - z(t)) / mu - delta(t-1) ]
    x(t+1)   = x(t) - mu y(t)                                                                                    (1)

The bracket is how far the neighbors' new parameters are from a node's own old ones, minus its own update. Only x is
sent. s (the paper's mu) is ``scaling``. In (1) x(t-1) and x(t) cancel, so that with c(t) = y(t) - delta(t)

    x(t+1) = z(t) - mu (g(t) + c(t)),    c(t+1) = s [ (z(t) - z(t+1)) / mu - g(t) ]                              (2)

which needs no copies of the neighbors: the correction is the whole round's move, neighbors included, without the part
of the own gradient. s = 0 is decentralized SGD, s = 1 is D2 with W itself (``d2``). At rest c = -s g: the nodes rest
where decentralized SGD with the step mu (1 - s) does, a biased point where data differ. Where the losses are flat, (2)
diverges if an eigenvalue of W is -1 / (1 + 2 s) or less. -3/5, that of a torus, allows s < 1/3; a ring's -1/3 allows s
< 1. The authors' runs take s = 0.9 on rings, and 0.005 to 0.08 with momentum.

With K local steps c stands still within a round, g is the mean of their gradients, weighted by mu, and mu the sum.
After a lost message the c no longer sum to 0; what is wrong shrinks by s in every round.

**Momentum** beta > 0 gives QG-GUTm, with the buffer m^ of ``qg_dsgdm``:

    x(t+1) = z(t) - mu (g(t) + c(t) + beta m^(t)),    m^(t+1) = beta m^(t) + (1 - beta) (z(t) - z(t+1)) / mu

Of the paper's text only the abstract was at hand. (1) is what the authors' training program computes
(github.com/aparna-aketi/global_update_tracking); the momentum is that of their consensus experiment, where in training
they put heavy-ball momentum on y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange, ParamsMessage, flow
from strategies.parts.heavy_ball import accelerated, start_velocity


class GUTOptions(CompressibleGossipOptions):
    """Parameters of global update tracking."""

    name: Literal["gut"] = "gut"
    scaling: float = Field(
        0.3, ge=0, le=1, description="s, how much of the neighbors' update is tracked; 0: none, as decentralized SGD"
    )
    momentum: float = Field(
        0.0, ge=0, lt=1, description="beta, how much of the quasi-global buffer is in a step (QG-GUTm)"
    )

    spec: ClassVar[Spec] = Spec(compress=("top-k", "random-k", "quantize"))


class GUTState(NamedTuple):
    """z with the round's steps, z at its start, c, m^ (empty without momentum), the sums of mu g, and of mu ``[]``."""

    params: Tensor
    start: Tensor
    correction: Tensor
    buffer: Tensor | tuple[()]
    gradients: Tensor
    lr_sum: Tensor


@dataclass(frozen=True)
class GUT(GossipExchange):
    """Global update tracking (Aketi et al. 2023), for one node."""

    options: GUTOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> GUTState:
        """Start at ``params``, without a correction and at rest."""
        zero = torch.zeros_like(params)
        return GUTState(params, params, zero, start_velocity(params, self.options.momentum), zero, params.new_zeros(()))

    def local_step(self, state: GUTState, view: View, step: Step, phase: Phase) -> tuple[GUTState, StepInfo]:
        """Do one SGD step with the correction, and with the buffer's momentum."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        lr = self.options.lr * step.lr_scale
        direction = gradient + state.correction
        if not isinstance(state.buffer, tuple):
            direction = accelerated(direction, state.buffer, self.options.momentum)
        moved = state._replace(
            params=torch.addcmul(state.params, direction, -lr),
            gradients=torch.addcmul(state.gradients, gradient, lr),
            lr_sum=state.lr_sum + lr,
        )
        return moved, StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: GUTState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> GUTState:
        """Average with the neighbors that were heard; track the whole round's move."""
        moved = flow(outbox.params, inbox.params, round_view.weight_in, headers.received, self.options.clip)
        params, beta = state.params + moved, self.options.momentum
        # Steps of length 0, at the end of a schedule, move nothing.
        lr_sum = torch.where(state.lr_sum > 0, state.lr_sum, 1)
        displacement = state.start - params
        buffer = state.buffer
        if not isinstance(buffer, tuple):
            buffer = beta * buffer + (1 - beta) * displacement / lr_sum
        correction = self.options.scaling * (displacement - state.gradients) / lr_sum
        zero = torch.zeros_like(params)
        return GUTState(params, params, correction, buffer, zero, torch.zeros_like(state.lr_sum))
