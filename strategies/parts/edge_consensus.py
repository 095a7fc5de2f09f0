"""The primal-dual exchange that NGPD and ECL share: duals on the edges, and mixing for free.

Every edge (i, j) carries the constraint a_ij w_i + a_ji w_j = 0. Node i holds z_i|j for it, and once a round

    send   y_i|j = z_i|j - 2 a_ij w_i
    receive y_j|i,   z_i|j <- (1 - theta) z_i|j + theta y_j|i                                                    (1)

theta = 1 is Peaceman-Rachford splitting (PDMM: Zhang and Heusdens, "Distributed optimization using the primal-dual
method of multipliers", IEEE TSIPN 4, 2018), theta = 1/2 Douglas-Rachford splitting (ADMM). A lost message leaves
z as it is.

**Mixing for free.** y_j|i = z_j|i - 2 a_ji w_j contains w_j, and node i can follow z_j|i, since that changes only by
what i itself sent. It keeps a mirror m of z_j|i and decodes

    w_j = (m - y_j|i) / (2 a_ji) = (a_ij / 2) (y_j|i - m)                                                        (2)

so that each node may also average with its neighbors (``mixing`` of the weights W) without sending a byte more. At
rest all w agree, hence the averaging moves nothing and the fixed point stays the exact one.

``mirror`` decides when that copy is valid; while it may be wrong, its edge is left out of the mixing.

**Clipping** (``clip``, tau; see ``gossip``) shortens what a message changes, in (1) and in the mixing:

    z_i|j <- z_i|j + clip(theta (y_j|i - z_i|j)),    w_i <- w_i + sum_j W_ij clip(w_j - w_i)                     (3)

tau is the same at both ends, so that the mirror moves by (3) as the dual does.

**A shared mask** (``shared_mask``): of a message some entries alone may be known. The others of z, m and w stay as they
are, entry by entry.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from strategies.contract import Headers, Message, RoundView, State, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.gossip import GossipOptions, gossip, weighted_sum
from strategies.parts.mirror import Mirror, catch_up, moved, remember, start_mirror

_LONG_MEMORY = 4
"""Own messages that a node remembers where their fate is known late; more changed nothing in trials."""


class EdgeConsensusOptions(GossipOptions):
    """Parameters of the primal-dual exchange."""

    theta: float = Field(1.0, gt=0, le=1, description="relaxation: 1 is Peaceman-Rachford (PDMM), 1/2 ADMM")
    mixing: float = Field(
        1.0, ge=0, le=1, description="how far to average with the neighbors' parameters after an exchange; 0: not"
    )
    memory: int | None = Field(
        None,
        ge=1,
        le=62,
        description="own messages that a node remembers for each neighbor until it knows their fate, so that it can "
        "mix; unset: 1 (theta = 1, no clip) or 4, and 4 where nodes do not keep step",
    )
    edge_penalty: float | None = Field(None, gt=0, description="eta on every edge; unset: from penalty_scale")
    penalty_scale: float = Field(1.0, gt=0, description="c, the factor on the default eta")

    def for_mode(self, mode: str) -> Self:
        """Remember more where nodes do not keep step: a message is answered three rounds later at the earliest."""
        keeps_step = mode == "synchronous"
        return self if keeps_step or self.memory else self.model_copy(update={"memory": _LONG_MEMORY})

    @model_validator(mode="after")
    def _damped_enough(self) -> Self:
        if self.compress is not None and not self.shares_mask and self.theta > 0.5:
            raise ValueError(f"theta: compress = {self.compress.name} needs theta <= 0.5 (got {self.theta:g})")
        return self


def default_edge_penalty(options: EdgeConsensusOptions, prox_weight: float, degree: int, neighbor_degree: int) -> float:
    """Return eta_ij = c prox_weight / (mu sqrt(E_i E_j)), unless the options give it.

    The same number at both ends of an edge: made of shared options and both degrees of the union graph.

    Args:
        options: mu, c, and perhaps an explicit eta.
        prox_weight: the proximal term's weight in units of 1/mu, in the directions where it is weakest.
        degree: E_i.
        neighbor_degree: E_j.
    """
    if options.edge_penalty is not None:
        return options.edge_penalty
    return options.penalty_scale * prox_weight / (options.lr * math.sqrt(degree * neighbor_degree))


class EdgeMessage(NamedTuple):
    """y_i|j for every neighbor, ``[D, P]``."""

    dual: Tensor


class EdgeDuals(NamedTuple):
    """The duals z_i|j ``[D, P]`` and the mirror of the neighbors' duals, empty if the algorithm does not mix."""

    dual: Tensor
    mirror: Mirror | tuple[()]


class _Owner(Protocol):
    @property
    def options(self) -> EdgeConsensusOptions: ...


def start_edges(options: EdgeConsensusOptions, params: Tensor, view: View) -> EdgeDuals:
    """Return z_i|j = a_ij w for the common start w ``[P]``: there the edges exert no force."""
    dual = view.sign[:, None] * params
    if options.mixing == 0:
        return EdgeDuals(dual, ())
    history = options.memory or (1 if options.theta == 1 and options.clip is None else _LONG_MEMORY)
    return EdgeDuals(dual, start_mirror(-dual, history, options.clip, options.shares_mask))


def edge_force(edges: EdgeDuals, params: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Return sum_j eta_ij (w - a_ij z_i|j) ``[P]`` and sum_j eta_ij ``[]``.

    Both sums run over the union graph, whatever is active in the round: summing over active edges only ends at a
    wrong point.
    """
    total = view.edge_penalty.sum()
    pulled = weighted_sum(-view.edge_penalty * view.sign, edges.dual)
    return torch.addcmul(pulled, total, params), total


class EdgeConsensusExchange(StrategyDefaults):
    """The exchange (1), (2) of an algorithm whose state has the fields ``params [P]`` and ``edges``."""

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Send y_i|j = z_i|j - 2 a_ij w_i."""
        return EdgeMessage(state.edges.dual - 2 * view.sign[:, None] * state.params)

    def incoming(
        self: _Owner,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: Message,
        outbox: Message,
        headers: Headers,
    ) -> State:
        """Move the duals by what arrived; then average with the neighbors whose parameters can be decoded.

        With a shared mask, nan stands for the entries that have not traveled, in inbox and outbox.
        """
        theta, mixing, clip = self.options.theta, self.options.mixing, self.options.clip
        arrived = headers.received[:, None]
        if self.options.shares_mask:
            arrived = arrived & ~inbox.dual.isnan()
        edges: EdgeDuals = state.edges
        params, mirror = state.params, edges.mirror
        if mirror:
            mirror = catch_up(mirror, theta, headers, clip)
            decoded = 0.5 * view.sign[:, None] * (inbox.dual - mirror.value)
            right = mirror.stale == 0
            at_hand = arrived & right if self.options.shares_mask else headers.received & right
            params = gossip(params, decoded, mixing * round_view.weight_in, at_hand, clip)
            mirror = remember(mirror, outbox.dual, round_view.sends, clip)
        dual = torch.where(arrived, moved(edges.dual, inbox.dual, theta, clip), edges.dual)
        return state._replace(params=params, edges=EdgeDuals(dual, mirror))
