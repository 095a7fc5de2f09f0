"""NGPD with gradient tracking: a node steps along the mean of all nodes' gradients, which it learns from neighbors.

The duals of ``ngpd`` learn what sets a node's gradient apart at a rate of c delta / F a round in a direction of
curvature F: slowly where the loss is stiff. Gradient tracking (Liu, Lin, Koloskova, Stich, "Decentralized gradient
tracking with local steps", Optimization Methods and Software, 2024; see ``tracking``) learns it as fast as the graph
mixes, in all directions alike, for a second vector in each message. Here both act: the force in (1) of ``ngpd`` is

    g_i + s_i^2 c_i + sum_j eta_ij (w_i - a_ij z_i|j)                                                            (1)

with c_i the correction of ``tracking`` and s_i the running mean of the node's trust factors: the correction is the same
in step after step, so that it adds up where each single step is bounded. At rest no step is shortened and s_i = 1; the
c_i sum to 0, as the duals' forces do, and so do the gradients.

Steps along the gradients of others need a curvature of others. A node's own is flat where only their data vary, and
such steps, until the next exchange averages them, are far too long. So the share a = 1 - 1/K of the labels that F_i is
made of is uniform, and of each input factor A ``[d, d]`` the solve uses

    A + 0.3 a tr(A) / d I                                                                                        (2)

The combination, the weight and (2) are our own; see ``docs/explanation/search-for-settings.md``. Each lost message
displaces the mean of the nodes, as in all tracking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from strategies.contract import Headers, Message, RoundView, Spec, State, View
from strategies.lazy_torch import Tensor, torch
from strategies.ngpd import NGPD, NGPDOptions
from strategies.parts.client_drift import ClientDrift
from strategies.parts.edge_balance import EdgeBalance
from strategies.parts.edge_consensus import EdgeDuals
from strategies.parts.gossip import flow
from strategies.parts.tracking import Tracker, corrected, mean_direction, start_tracker, tracked
from strategies.parts.trust_region import TrustRegion


class NGPDTrackingOptions(NGPDOptions):
    """Parameters of NGPD with gradient tracking."""

    name: Literal["ngpd-tracking"] = "ngpd-tracking"  # type: ignore[assignment]
    fisher_smoothing: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of uniform labels among those that the Fisher matrix is made of, and of the identity in its "
        "input factors; auto: 1 - 1/K",
    )

    spec: ClassVar[Spec] = Spec(per_edge=("dual",))
    input_smoothing: ClassVar[float] = 0.3

    @model_validator(mode="after")
    def _balanced(self) -> Self:
        if not self.balances_edges:
            raise ValueError(f"{self.name} adapts eta; allowed: edge_penalty unset, edge_metric euclidean")
        return self


class TrackedMessage(NamedTuple):
    """y_i|j for every neighbor, ``[D, P]``; r_i ``[]`` and the mean direction z_i ``[P]``, the same for all."""

    dual: Tensor
    ratio: Tensor
    direction: Tensor


class NGPDTrackingState(NamedTuple):
    """The state of ``ngpd``, the tracker, and the share a of the last round ``[]``."""

    params: Tensor
    edges: EdgeDuals
    curvature: State
    drift: ClientDrift
    damping_share: Tensor
    region: TrustRegion | tuple[()]
    balance: EdgeBalance | tuple[()]
    tracker: Tracker
    share: Tensor


@dataclass(frozen=True)
class NGPDTracking(NGPD):
    """NGPD with gradient tracking, for one node."""

    options: NGPDTrackingOptions

    def init(self, params: Tensor, view: View) -> State:
        """Start as ``ngpd`` does, without a correction."""
        started = super().init(params, view)._asdict()
        return NGPDTrackingState(**started, tracker=start_tracker(params), share=params.new_ones(()))

    def smoothing(self, state: State) -> Tensor:
        """Return the share of uniform labels ``[]``: ``fisher_smoothing``, or a."""
        given = self.options.fisher_smoothing
        return state.share if given == "auto" else torch.full_like(state.share, given)

    def descent(self, state: State, gradient: Tensor) -> tuple[State, Tensor]:
        """Return g + s^2 c ``[P]``, and let the tracker see g."""
        trust = state.balance.trust
        direction = torch.addcmul(gradient, trust * trust, state.tracker.correction)
        return state._replace(tracker=tracked(state.tracker, gradient)), direction

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Send y_i|j, r_i and z_i."""
        message = super().outgoing(state, view, round_view)
        return TrackedMessage(message.dual, message.ratio, mean_direction(state.tracker))

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
        change = flow(outbox.direction, inbox.direction, round_view.weight_in, headers.received, self.options.clip)
        share = 1 - 1 / state.tracker.steps.clamp(min=1)
        return moved._replace(tracker=corrected(state.tracker, change), share=share)
