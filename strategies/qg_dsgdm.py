"""Quasi-global momentum: QG-DSGDm and, with Nesterov's step, QG-DSGDm-N.

Lin, Karimireddy, Stich, Jaggi, "Quasi-global momentum: accelerating decentralized deep learning on heterogeneous data",
ICML 2021. The momentum comes from a buffer m^ that follows how far the node has moved, neighbors included:

    m = beta m^ + g,    w <- w - mu m           or, Nesterov,    w <- w - mu (beta m + g)             (K times a round)
    w <- W w                                                                                          (once a round)
    m^ <- nu m^ + (1 - nu) (w before - w after the round) / (sum of mu over its steps)                (once a round)

The paper's mu is ``buffer_decay`` here, nu above, equal to beta unless given. K = 1 is the paper's algorithm; with more
steps m^ stands still within a round, as it does in the authors' program where they renew it every few steps. Only w is
exchanged. At rest the buffer is 0, hence the nodes rest where decentralized SGD without momentum does, with a step of
mu (1 + beta) for Nesterov's: a biased point where data differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange, ParamsMessage, gossip
from strategies.parts.heavy_ball import accelerated


class QGDSGDmOptions(CompressibleGossipOptions):
    """Parameters of quasi-global momentum."""

    name: Literal["qg-dsgdm"] = "qg-dsgdm"
    momentum: float = Field(0.9, ge=0, lt=1, description="beta, how much of the quasi-global buffer is in a step")
    buffer_decay: float | None = Field(
        None, ge=0, lt=1, description="part of the quasi-global buffer that stays in a round; unset: momentum"
    )
    nesterov: bool = Field(True, description="whether the momentum is applied as Nesterov does (QG-DSGDm-N)")

    spec: ClassVar[Spec] = Spec(directed="balanced", compress=("top-k", "random-k", "quantize"))


class QGDSGDmState(NamedTuple):
    """Parameters, those at the start of the round, m^, each ``[P]``, and the sum of mu in this round, ``[]``."""

    params: Tensor
    start: Tensor
    buffer: Tensor
    lr_sum: Tensor


@dataclass(frozen=True)
class QGDSGDm(GossipExchange):
    """Decentralized SGD with quasi-global momentum (Lin et al. 2021), for one node."""

    options: QGDSGDmOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> QGDSGDmState:
        """Start at ``params``, at rest."""
        return QGDSGDmState(params, params, torch.zeros_like(params), params.new_zeros(()))

    def local_step(self, state: QGDSGDmState, view: View, step: Step, phase: Phase) -> tuple[QGDSGDmState, StepInfo]:
        """Do one step with the buffer's momentum."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        lr, beta = self.options.lr * step.lr_scale, self.options.momentum
        direction = accelerated(gradient, state.buffer, beta)
        if self.options.nesterov:
            direction = accelerated(gradient, direction, beta)
        params = torch.addcmul(state.params, direction, -lr)
        return state._replace(params=params, lr_sum=state.lr_sum + lr), StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: QGDSGDmState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> QGDSGDmState:
        """Average with the neighbors that were heard; let the buffer follow the whole round's move."""
        params = gossip(state.params, inbox.params, round_view.weight_in, headers.received, self.options.clip)
        decay = self.options.momentum if self.options.buffer_decay is None else self.options.buffer_decay
        # A step of length 0, at the end of a schedule, says nothing of the direction.
        direction = torch.where(state.lr_sum > 0, (state.start - params) / state.lr_sum, 0)
        buffer = decay * state.buffer + (1 - decay) * direction
        return QGDSGDmState(params, params, buffer, torch.zeros_like(state.lr_sum))
