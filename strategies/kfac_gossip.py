"""K-FAC with plain gossip: natural-gradient steps at every node, averaging with the neighbors, no edge constraints.

The ablation that shows what NGPD's primal-dual part does:

    w_i <- w_i - mu (F_i + delta I)^-1 g_i                            (K times a round, inside a trust region)
    w_i <- W_ii w_i + sum_j W_ij w_j                                  (once a round)

The local step is that of Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate
curvature", ICML 2015; the exchange that of decentralized SGD (Lian et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Curvature, Headers, Phase, RoundView, Spec, State, Step, StepInfo, View
from strategies.lazy_torch import Tensor
from strategies.parts.client_drift import ClientDrift, after_exchange, after_step, start_drift
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange, ParamsMessage
from strategies.parts.natural_gradient import NaturalGradientOptions, damped_solve
from strategies.parts.trust_region import TrustRegion, measured, shortened, start_region


class KFACGossipOptions(NaturalGradientOptions, CompressibleGossipOptions):
    """Parameters of K-FAC with plain gossip."""

    name: Literal["kfac-gossip"] = "kfac-gossip"
    damping: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto", description=NaturalGradientOptions.model_fields["damping"].description
    )

    spec: ClassVar[Spec] = Spec(directed="balanced", compress=("top-k", "random-k", "quantize"))


class KFACGossipState(NamedTuple):
    """Parameters ``[P]``, the curvature's state, client drift, the share of delta that is used ``[]``, trust region."""

    params: Tensor
    curvature: State
    drift: ClientDrift
    damping_share: Tensor
    region: TrustRegion | tuple[()]


@dataclass(frozen=True)
class KFACGossip(GossipExchange):
    """Local K-FAC steps and gossip averaging, for one node."""

    options: KFACGossipOptions
    curvature: Curvature

    def phase(self, step: int) -> Phase:
        """Refresh the curvature as the options say."""
        return self.options.phase(step)

    def init(self, params: Tensor, view: View) -> KFACGossipState:
        """Start at ``params``, with no curvature yet."""
        region = start_region(params, self.options.trust_radius)
        return KFACGossipState(params, self.curvature.init(params), start_drift(params), params.new_ones(()), region)

    def local_step(
        self, state: KFACGossipState, view: View, step: Step, phase: Phase
    ) -> tuple[KFACGossipState, StepInfo]:
        """Do one natural-gradient step."""
        smoothing = self.options.smoothing(state.drift)
        curvature, loss, gradient = self.curvature.gradient(
            state.curvature, state.params, step.batch, step.draws, phase, smoothing
        )
        region = measured(state.region, self.curvature, state.params, step.batch)
        change, quadratic, share = damped_solve(
            self.options, self.curvature, curvature, gradient, step, state.damping_share
        )
        region, shrink = shortened(region, change, quadratic, self.options.trust_radius)
        params = state.params - shrink * change
        return KFACGossipState(params, curvature, after_step(state.drift, loss), share, region), StepInfo(loss, shrink)

    def incoming(
        self,
        state: KFACGossipState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> KFACGossipState:
        """Average with the neighbors that were heard, and end the round."""
        moved: KFACGossipState = super().incoming(state, view, round_view, inbox, outbox, headers)
        return moved._replace(drift=after_exchange(state.drift))
