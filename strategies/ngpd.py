"""NGPD, the natural-gradient primal-dual method.

Niwa, Ishii, Sawada, Fujino, Harada, Yokota, "Natural gradient primal-dual method for decentralized learning", IEEE
Transactions on Signal and Information Processing over Networks 10, pp. 417-433, 2024, doi 10.1109/TSIPN.2024.3388948.

Node i minimizes f_i subject to the constraints of its edges. A local step, with g the gradient on a minibatch, is

    w <- argmin_v <g, v - w> + (1 / 2 mu) |v - w|^2_{F_i + delta I} + sum_j (eta_ij / 2) |a_ij v - z_i|j|^2

whose solution, with force = g + sum_j eta_ij (w - a_ij z_i|j), is

    w <- w - [ (F_i + delta I) / mu + (sum_j eta_ij) I ]^-1 force                                                (1)

exact in the eigenbasis of a Kronecker-factored F_i, and shortened to a trust region on the change of the outputs. The
exchange is that of ``edge_consensus``. At rest z_i|j = a_ij w + lambda_ij with one lambda_ij per edge, hence
sum_i g_i = 0, *because* eta is the same at both ends.

``edge_metric = "fisher"`` measures the edge term in F_i + delta I as well,

    w <- w - (1/mu + sum_j eta_ij)^-1 [ (F_i + delta I)^-1 g + sum_j eta_ij (w - a_ij z_i|j) ]                   (2)

for ablations only: the nodes then rest where sum_i (F_i + delta I)^-1 g_i = 0, which is biased when their data differ.

The default eta follows the scale of the proximal term, which is delta / mu in the directions that F leaves flat:

    eta_ij = c delta / (mu sqrt(E_i E_j))                                                                        (3)

so that the edges together weigh c times as much as that term, for any degree and any K. ``edge_balance`` adapts it to
what the nodes' data and steps ask of the edges; with an explicit ``edge_penalty``, with ``compress`` and in the fisher
metric it is constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from strategies.contract import Curvature, Headers, Message, Phase, RoundView, Spec, State, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.client_drift import ClientDrift, after_exchange, after_step, start_drift
from strategies.parts.edge_balance import (
    EdgeBalance,
    after_pull,
    after_ratios,
    after_trust,
    ratio,
    scaled_penalties,
    start_balance,
)
from strategies.parts.edge_consensus import (
    EdgeConsensusExchange,
    EdgeConsensusOptions,
    EdgeDuals,
    default_edge_penalty,
    edge_force,
    start_edges,
)
from strategies.parts.natural_gradient import NaturalGradientOptions, damped_solve
from strategies.parts.trust_region import TrustRegion, measured, shortened, start_region


class NGPDOptions(NaturalGradientOptions, EdgeConsensusOptions):
    """Parameters of NGPD."""

    name: Literal["ngpd"] = "ngpd"
    penalty_scale: float = Field(3.0, gt=0, description="c, the factor on the default eta")
    edge_metric: Literal["euclidean", "fisher"] = Field(
        "euclidean", description="metric of the edge term; fisher is biased and meant for ablations"
    )

    spec: ClassVar[Spec] = Spec(per_edge=("dual",), compress=("random-k", "top-k", "quantize"))

    @property
    def balances_edges(self) -> bool:
        """Whether the nodes adapt eta: neither a penalty nor a compression is set, and the metric is Euclidean."""
        return self.edge_penalty is None and self.compress is None and self.edge_metric == "euclidean"

    @model_validator(mode="after")
    def _damped(self) -> Self:
        if self.damping == 0 and self.edge_penalty is None:
            raise ValueError("damping: 0 makes the default eta 0; allowed: damping > 0, or an explicit edge_penalty")
        return self


class BalancedMessage(NamedTuple):
    """y_i|j for every neighbor, ``[D, P]``, and r_i ``[]``."""

    dual: Tensor
    ratio: Tensor


class NGPDState(NamedTuple):
    """Parameters ``[P]``, duals, curvature, drift, the share of delta that is used ``[]``, trust region, balance."""

    params: Tensor
    edges: EdgeDuals
    curvature: State
    drift: ClientDrift
    damping_share: Tensor
    region: TrustRegion | tuple[()]
    balance: EdgeBalance | tuple[()]


@dataclass(frozen=True)
class NGPD(EdgeConsensusExchange):
    """NGPD (Niwa et al. 2024), for one node."""

    options: NGPDOptions
    curvature: Curvature

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return eta_ij by (3), or as given."""
        weight = self.options.delta if self.options.edge_metric == "euclidean" else 1.0
        return default_edge_penalty(self.options, weight, degree, neighbor_degree)

    def phase(self, step: int) -> Phase:
        """Refresh the curvature as the options say."""
        return self.options.phase(step)

    def init(self, params: Tensor, view: View) -> State:
        """Start at ``params`` with duals that exert no force and no curvature yet."""
        return NGPDState(
            params,
            start_edges(self.options, params, view),
            self.curvature.init(params),
            start_drift(params),
            params.new_ones(()),
            start_region(params, self.options.trust_radius),
            start_balance(view) if self.options.balances_edges else (),
        )

    def descent(self, state: State, gradient: Tensor) -> tuple[State, Tensor]:
        """Return the state, and the direction ``[P]`` that takes g's place in (1) and (2): here g itself."""
        return state, gradient

    def local_step(self, state: State, view: View, step: Step, phase: Phase) -> tuple[State, StepInfo]:
        """Do the step (1), or (2) in the fisher metric, inside the trust region."""
        params = state.params
        curvature, loss, gradient = self.curvature.gradient(
            state.curvature, params, step.batch, step.draws, phase, self.options.smoothing(state.drift)
        )
        state, descent = self.descent(state, gradient)
        region = measured(state.region, self.curvature, params, step.batch)
        share, balance = state.damping_share, state.balance
        pull, total = edge_force(state.edges, params, scaled_penalties(view, balance) if balance else view)
        if balance:
            balance = after_pull(balance, pull, descent)
        if self.options.edge_metric == "euclidean":
            force = pull.add_(descent)
            change, quadratic, share = damped_solve(self.options, self.curvature, curvature, force, step, share, total)
        else:
            lr = self.options.lr * step.lr_scale
            natural, _ = self.curvature.solve(curvature, descent, torch.ones_like(lr), torch.zeros_like(lr))
            change = (natural + pull) / (1 / lr + total)
            quadratic = self.curvature.quadratic(curvature, change)
        region, shrink = shortened(region, change, quadratic, self.options.trust_radius)
        if balance:
            balance = after_trust(balance, shrink)
        return state._replace(
            params=torch.addcmul(params, -shrink, change),
            curvature=curvature,
            drift=after_step(state.drift, loss),
            damping_share=share,
            region=region,
            balance=balance,
        ), StepInfo(loss, shrink)

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Send y_i|j, and r_i where the nodes adapt eta."""
        message = super().outgoing(state, view, round_view)
        return BalancedMessage(message.dual, ratio(state.balance, state.damping_share)) if state.balance else message

    def incoming(
        self,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: Message,
        outbox: Message,
        headers: Headers,
    ) -> State:
        """Move the duals, mix, agree on eta, and end the round."""
        moved: State = super().incoming(state, view, round_view, inbox, outbox, headers)
        if state.balance:
            moved = moved._replace(balance=after_ratios(state.balance, inbox.ratio, outbox.ratio, headers))
        return moved._replace(drift=after_exchange(state.drift))
