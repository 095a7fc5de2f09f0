"""GTAdam: gradient tracking along the direction of Adam.

Carnevale, Farina, Notarnicola, Notarstefano, "GTAdam: gradient tracking with adaptive momentum for distributed online
optimization", IEEE Transactions on Control of Network Systems 10, 2023 (arXiv:2009.01745), for all nodes at once, with
m, v and epsilon as in ``adam``, and without bias correction:

    m(t+1) = beta1 m(t) + (1 - beta1) y(t),    v(t+1) = beta2 v(t) + (1 - beta2) y(t)^2
    w(t+1) = W w(t) - mu m(t+1) / (sqrt(v(t+1)) + epsilon)                                                       (1)
    y(t+1) = W y(t) + g(t+1) - g(t),    y(0) = g(0)                                                              (2)

What is averaged is w before the step. y is kept as g + c, as in ``tracking``, whose exchange this is with w of the
round's start in place of w. With K local steps Adam reads g + c in each of them, its averages live on, and the steps
together are added to W w; z is the mean of g + c, as in K-GT. At rest all y agree, hence so do m and v and the steps
of all nodes; their mean is 0, so y = 0 and all w agree: the minimizer of the sum. As with Adam itself, a constant mu
brings it there only where epsilon is not small against y; otherwise it stays within a few mu.

``weight_decay`` > 0 also subtracts mu weight_decay w in each step, decoupled from the gradient as in AdamW
(Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019). With ``bias_correction`` too this is AdamW
with gradient tracking: nodes whose data are the same do the steps of ``torch.optim.AdamW``.

Of the paper's text only the abstract was at hand: (1) and (2) are what two public programs compute (one on disropt,
the framework of its authors, and NVFlare's, which has epsilon under the root). They also bound v by 1e6; that is left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.adam import AdamOptions, Moments, adam_direction, averaged, start_moments
from strategies.parts.gossip import GossipOptions
from strategies.parts.tracking import Tracker, TrackingExchange, TrackingMessage, start_tracker, tracked


class GTAdamOptions(AdamOptions, GossipOptions):
    """Parameters of GTAdam."""

    name: Literal["gtadam"] = "gtadam"
    bias_correction: bool = Field(
        False, description="whether Adam's averages are corrected for their start at 0; not in the paper"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay, as in AdamW")

    spec: ClassVar[Spec] = Spec(directed="balanced")


class GTAdamState(NamedTuple):
    """w with the round's steps, w at the round's start, each ``[P]``, Adam's averages and the tracker."""

    params: Tensor
    start: Tensor
    moments: Moments
    tracker: Tracker


@dataclass(frozen=True)
class GTAdam(TrackingExchange):
    """GTAdam (Carnevale et al. 2023), for one node."""

    options: GTAdamOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> GTAdamState:
        """Start at ``params``, without averages or a correction."""
        return GTAdamState(params, params, start_moments(params), start_tracker(params))

    def local_step(self, state: GTAdamState, view: View, step: Step, phase: Phase) -> tuple[GTAdamState, StepInfo]:
        """Do one step along Adam's direction of g + c."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        tracker = tracked(state.tracker, gradient)
        moments = averaged(state.moments, gradient + tracker.correction, self.options)
        direction = adam_direction(moments, self.options, self.options.bias_correction)
        if self.options.weight_decay:
            direction = torch.add(direction, state.params, alpha=self.options.weight_decay)
        params = torch.addcmul(state.params, direction, -self.options.lr * step.lr_scale)
        return GTAdamState(params, state.start, moments, tracker), StepInfo(loss, torch.ones_like(loss))

    def outgoing(self, state: GTAdamState, view: View, round_view: RoundView) -> TrackingMessage:
        """Send w of the round's start, and z, to every neighbor."""
        return super().outgoing(state._replace(params=state.start), view, round_view)

    def incoming(
        self,
        state: GTAdamState,
        view: View,
        round_view: RoundView,
        inbox: TrackingMessage,
        outbox: TrackingMessage,
        headers: Headers,
    ) -> GTAdamState:
        """Average w as it was sent, and add the round's steps; correct c."""
        moved: GTAdamState = super().incoming(state, view, round_view, inbox, outbox, headers)
        return moved._replace(start=moved.params)
