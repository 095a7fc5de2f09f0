"""NGPD with gradient tracking: a node steps along the mean of all nodes' gradients, which it learns from neighbors.

The duals of ``ngpd`` learn what sets a node's gradient apart at a rate of c delta K / F a round in a direction of
curvature F: slowly where the loss is stiff. Tracking learns it in all directions alike, for a second vector in each
message. Here both act: the force in (1) of ``ngpd`` is

    g_i + s_i^2 c_i + sum_j eta_ij (w_i - a_ij z_i|j)                                                            (1)

with c_i the correction of ``edge_tracking`` (Carnevale et al., "ADMM-tracking gradient for distributed optimization
over asynchronous and unreliable networks", IEEE Transactions on Automatic Control 70 (8), 2025) and s_i the running
mean of the node's trust factors: the correction is the same in step after step, so that it adds up where each single
step is bounded. At rest no step is shortened and s_i = 1; the c_i sum to 0, as the duals' forces do, and so do the
gradients. The correction and the pull both come from duals on the edges, which a lost message leaves as they are.

Steps along the gradients of others need a curvature of others. A node's own is flat where only their data vary, and
such steps, until the next exchange averages them, are far too long. So more of the labels that F_i is made of are
uniform than in ``ngpd``: in round t a share of

    max(0.9^t, min(1, 2 drift)^2)                                                                                (2)

for a node does not know how skewed its data are before it knows its drift.

The combination, the weight and the share are our own; see ``docs/explanation/search-for-settings.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from strategies.contract import Headers, Message, RoundView, Spec, State, View
from strategies.lazy_torch import Tensor, torch
from strategies.ngpd import NGPD, NGPDOptions
from strategies.parts.client_drift import ClientDrift, amount
from strategies.parts.edge_balance import EdgeBalance
from strategies.parts.edge_consensus import EdgeDuals, default_edge_penalty
from strategies.parts.edge_tracking import EdgeTracker, after_messages, edge_message, start_edge_tracker, with_gradient
from strategies.parts.trust_region import TrustRegion

_DECAY = 0.9
"""Decay of the share of uniform labels from 1 at the start, for a round."""


class NGPDTrackingOptions(NGPDOptions):
    """Parameters of NGPD with gradient tracking."""

    name: Literal["ngpd-tracking"] = "ngpd-tracking"  # type: ignore[assignment]
    fisher_smoothing: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of uniform labels among those that the Fisher matrix is made of; auto: the square of twice "
        "each node's client drift, at most 1, and all at the start",
    )

    spec: ClassVar[Spec] = Spec(per_edge=("dual", "gradient_dual"))

    @model_validator(mode="after")
    def _balanced(self) -> Self:
        if not self.balances_edges:
            raise ValueError(f"{self.name} adapts eta; allowed: edge_penalty unset, edge_metric euclidean")
        return self

    def smoothing(self, drift: ClientDrift) -> Tensor:
        """Return the share of uniform labels ``[]`` at a node: ``fisher_smoothing``, or (2)."""
        if self.fisher_smoothing != "auto":
            return super().smoothing(drift)
        return torch.maximum(_DECAY**drift.rounds, (2 * amount(drift)).clamp(max=1) ** 2)


class TrackedMessage(NamedTuple):
    """The messages of ``edge_consensus`` and of ``edge_tracking``, ``[D, P]`` each, and r_i ``[]``."""

    dual: Tensor
    ratio: Tensor
    gradient_dual: Tensor


class NGPDTrackingState(NamedTuple):
    """The state of ``ngpd``, and the tracker."""

    params: Tensor
    edges: EdgeDuals
    curvature: State
    drift: ClientDrift
    damping_share: Tensor
    region: TrustRegion | tuple[()]
    balance: EdgeBalance | tuple[()]
    tracker: EdgeTracker


@dataclass(frozen=True)
class NGPDTracking(NGPD):
    """NGPD with gradient tracking, for one node."""

    options: NGPDTrackingOptions

    def init(self, params: Tensor, view: View) -> State:
        """Start as ``ngpd`` does, without a correction."""
        return NGPDTrackingState(**super().init(params, view)._asdict(), tracker=start_edge_tracker(params, view))

    def descent(self, state: State, gradient: Tensor) -> tuple[State, Tensor]:
        """Return the state with g added to the tracker, and the direction g + s^2 c ``[P]``."""
        trust = state.balance.trust
        direction = torch.addcmul(gradient, trust * trust, state.tracker.correction)
        return state._replace(tracker=with_gradient(state.tracker, gradient)), direction

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Send the messages of the duals of the parameters and of the mean gradient, and r_i."""
        message = super().outgoing(state, view, round_view)
        return TrackedMessage(message.dual, message.ratio, edge_message(state.tracker, view, self._weights(view)))

    def incoming(
        self,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: Message,
        outbox: Message,
        headers: Headers,
    ) -> State:
        """Do what ``ngpd`` does, and correct c."""
        moved: State = super().incoming(state, view, round_view, inbox, outbox, headers)
        weights, theta, clip = self._weights(view), self.options.theta, self.options.clip
        tracker = after_messages(state.tracker, view, weights, inbox.gradient_dual, headers, theta, clip)
        return moved._replace(tracker=tracker)

    def _weights(self, view: View) -> Tensor:
        """Return 1 / sqrt(E_i E_j) ``[D]``, of which the default eta is a multiple."""
        return view.edge_penalty / default_edge_penalty(self.options, self.options.delta, 1, 1)
