"""SGP, stochastic gradient push: decentralized SGD on directed graphs, where weights cannot be made symmetric.

Assran, Loizou, Ballas, Rabbat, "Stochastic gradient push for distributed deep learning", ICML 2019, algorithm 1, on
push-sum (Kempe, Dobra, Gehrke, FOCS 2003; Nedic and Olshevsky, "Stochastic gradient-push for strongly convex functions
on time-varying directed graphs", IEEE TAC 61, 2016). Node i keeps x_i and a weight omega_i, 1 at the start; what it
evaluates and takes gradients at is the de-biased z_i = x_i / omega_i. With p_ji = 1 / (1 + d_i), d_i the nodes that it
sends to in the round,

    v_i <- momentum v_i + g_i(z_i),    x_i <- x_i - mu v_i                                   (K times a round)       (1)
    x_i <- sum_j p_ij x_j,    omega_i <- sum_j p_ij omega_j                                  (once a round)          (2)

The columns of P sum to one, so that sums over the nodes stay: sum_i omega_i = N, and mean_i x_i moves by the mean
gradient alone. Only that need hold, not that rows do: any strongly connected graph will do, and one that varies.

In (1) the step of x is not scaled by omega, as in the paper: z_i moves by mu v_i / omega_i.
A message that is lost takes its share of both sums away. As all omega shrink, the step of z grows without end (where a
tenth of the messages is lost it explodes within 100 rounds): every message has to arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, State, Step, StepInfo, StrategyOptions, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.gossip import weighted_sum
from strategies.parts.heavy_ball import accelerated, start_velocity


class SGPOptions(StrategyOptions):
    """Parameters of stochastic gradient push."""

    name: Literal["sgp"] = "sgp"
    momentum: float = Field(0.9, ge=0, lt=1, description="heavy-ball momentum on the local gradient")

    spec: ClassVar[Spec] = Spec(directed="any", reliable=True)


class PushMessage(NamedTuple):
    """The sender's share for each receiver: p x ``[P]`` and p omega ``[]``."""

    numerator: Tensor
    weight: Tensor


class SGPState(NamedTuple):
    """x ``[P]``, omega ``[]`` and the velocity ``[P]`` (empty without momentum)."""

    numerator: Tensor
    weight: Tensor
    velocity: Tensor | tuple[()]


@dataclass(frozen=True)
class SGP(StrategyDefaults):
    """Stochastic gradient push (Assran et al. 2019), for one node."""

    options: SGPOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> SGPState:
        """Start at ``params``, at rest, with weight 1."""
        return SGPState(params, torch.ones_like(params[0]), start_velocity(params, self.options.momentum))

    def local_step(self, state: SGPState, view: View, step: Step, phase: Phase) -> tuple[SGPState, StepInfo]:
        """Do the step (1)."""
        loss, direction = self.objective.gradient(self.estimate(state), step.batch)
        velocity = state.velocity
        if not isinstance(velocity, tuple):
            direction = velocity = accelerated(direction, velocity, self.options.momentum)
        numerator = torch.addcmul(state.numerator, direction, -self.options.lr * step.lr_scale)
        return SGPState(numerator, state.weight, velocity), StepInfo(loss, torch.ones_like(loss))

    def outgoing(self, state: SGPState, view: View, round_view: RoundView) -> PushMessage:
        """Send each receiver its even share."""
        share = _share(state, round_view)
        return PushMessage(share * state.numerator, share * state.weight)

    def incoming(
        self,
        state: SGPState,
        view: View,
        round_view: RoundView,
        inbox: PushMessage,
        outbox: PushMessage,
        headers: Headers,
    ) -> SGPState:
        """Add the shares received to the share kept, (2)."""
        share, received = _share(state, round_view), headers.received.to(state.numerator.dtype)
        numerator = torch.addcmul(weighted_sum(received, inbox.numerator), share, state.numerator)
        return state._replace(numerator=numerator, weight=share * state.weight + received @ inbox.weight)

    def estimate(self, state: State) -> Tensor:
        """Return z = x / omega."""
        ratio: Tensor = state.numerator / state.weight
        return ratio


def _share(state: SGPState, round_view: RoundView) -> Tensor:
    """Return p = 1 / (1 + d) ``[]``."""
    return 1 / (1 + round_view.sends.to(state.numerator.dtype).sum())
