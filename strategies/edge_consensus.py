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

so that each node may also average with its neighbours (``mixing`` of the weights W) without sending a byte more. At
rest all w agree, hence the averaging moves nothing and the fixed point stays the exact one.

The mirror is right only if i knows which of its messages j had applied: the header of j's message tells (a bitmap).
Until then a message is unresolved: it may be lost or, between asynchronous nodes, still on its way; one that is older
than what was applied will never be. The last few are remembered as ``pending``; while a mirror may be wrong, its edge
is left out of the mixing. By (1) a mirror forgets an error at the rate 1 - theta per message applied, so that it is
right again, to rounding, after ``_messages_to_forget`` of them: one if theta = 1.

**Clipping** (``clip``, tau; see ``gossip``) shortens what a message changes, in (1) and in the mixing:

    z_i|j <- z_i|j + clip(theta (y_j|i - z_i|j)),    w_i <- w_i + sum_j W_ij clip(w_j - w_i)                     (3)

tau is the same at both ends, so that the mirror moves by (3) as the dual does. But it forgets no error by a message
that is clipped. Let d = |y - m|, and e a bound on |m - z|. Since clip(theta x) = theta P(x), with P the projection onto
the ball of radius tau / theta, and x - P(x) moves no two points apart and has the length (|x| - tau / theta)_+,

    e <- (1 - theta) e + min(theta e, (theta (d + e) - tau)_+ + (theta d - tau)_+)                               (4)

for each message applied. One that was or may have been applied, and is forgotten, has moved z by tau at most: e grows
by that. A mirror is right where e = 0. So a few messages that hardly move the dual bring it back, while the edge of a
neighbour at which every message is clipped stays out of the mixing.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor

from strategies.contract import Headers, RoundView, State, View
from strategies.gossip import GossipOptions, gossip, weighted_sum, within

_OLDER = 1 << 62
_NEWEST = _OLDER - 1
_BITS = 62


class EdgeConsensusOptions(GossipOptions):
    """Parameters of the primal-dual exchange."""

    theta: float = Field(1.0, gt=0, le=1, description="relaxation: 1 is Peaceman-Rachford (PDMM), 1/2 ADMM")
    mixing: float = Field(
        1.0, ge=0, le=1, description="how far to average with the neighbours' parameters after an exchange; 0: not"
    )
    memory: int | None = Field(
        None,
        ge=1,
        le=62,
        description="own messages that a node remembers for each neighbour until it knows their fate, so that it can "
        "mix; unset: 1 (theta = 1, no clip) or 4, and 4 where nodes do not keep step",
    )
    edge_penalty: float | None = Field(None, gt=0, description="eta on every edge; unset: from penalty_scale")
    penalty_scale: float = Field(1.0, gt=0, description="c, the factor on the default eta")


def default_edge_penalty(
    options: EdgeConsensusOptions, prox_weight: float, degree: int, neighbour_degree: int, local_steps: int
) -> float:
    """Return eta_ij = c prox_weight / (mu sqrt(E_i E_j) max(K - 1, 1)), unless the options give it.

    The same number at both ends of an edge: made of shared options and both degrees of the union graph.

    Args:
        options: mu, c, and perhaps an explicit eta.
        prox_weight: the proximal term's weight in units of 1/mu, in the directions where it is weakest.
        degree: E_i.
        neighbour_degree: E_j.
        local_steps: K.
    """
    if options.edge_penalty is not None:
        return options.edge_penalty
    scale = options.penalty_scale * prox_weight / options.lr
    return scale / (math.sqrt(degree * neighbour_degree) * max(local_steps - 1, 1))


class EdgeMessage(NamedTuple):
    """y_i|j for every neighbour, ``[D, P]``."""

    dual: Tensor


class Mirror(NamedTuple):
    """What a node knows of its neighbours' duals; H is the number of own messages that it remembers.

    Attributes:
        value: m, the neighbours' z_j|i, ``[D, P]``.
        pending: the last own messages, the newest first, ``[H, D, P]``.
        unresolved: bitmap of the own messages whose fate is unknown, int64 ``[D]``: bit k is the (k+1)-th last one;
            bit 62 stands for all that are older than the 62 others.
        stale: 0 where the mirror is right, ``[D]``. Else, int64, messages still to be applied until it is; with
            clipping, float, the bound e on its error.
    """

    value: Tensor
    pending: Tensor
    unresolved: Tensor
    stale: Tensor


class EdgeState(NamedTuple):
    """The duals z_i|j ``[D, P]`` and the mirror of the neighbours' duals, empty if the algorithm does not mix."""

    dual: Tensor
    mirror: Mirror | tuple[()]


class _Owner(Protocol):
    @property
    def options(self) -> EdgeConsensusOptions: ...


def start_edges(options: EdgeConsensusOptions, params: Tensor, view: View) -> EdgeState:
    """Return z_i|j = a_ij w for the common start w ``[P]``: there the edges exert no force."""
    dual = view.sign[:, None] * params
    if options.mixing == 0:
        return EdgeState(dual, ())
    history = options.memory or (1 if options.theta == 1 and options.clip is None else 4)
    pending = torch.zeros_like(dual).expand(history, *dual.shape).clone()
    stale = torch.zeros_like(view.neighbour if options.clip is None else view.sign)
    return EdgeState(dual, Mirror(-dual, pending, torch.zeros_like(view.neighbour), stale))


def edge_force(edges: EdgeState, params: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Return sum_j eta_ij (w - a_ij z_i|j) ``[P]`` and sum_j eta_ij ``[]``.

    Both sums run over the union graph, whatever is active in the round: summing over active edges only ends at a
    wrong point.
    """
    total = view.edge_penalty.sum()
    pulled = weighted_sum(-view.edge_penalty * view.sign, edges.dual)
    return torch.addcmul(pulled, total, params), total


class EdgeConsensusExchange:
    """The exchange (1), (2) of an algorithm whose state has the fields ``params [P]`` and ``edges``."""

    def outgoing(self, state: State, view: View, round_view: RoundView) -> EdgeMessage:
        """Send y_i|j = z_i|j - 2 a_ij w_i."""
        return EdgeMessage(state.edges.dual - 2 * view.sign[:, None] * state.params)

    def incoming(
        self: _Owner,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: EdgeMessage,
        outbox: EdgeMessage,
        headers: Headers,
    ) -> State:
        """Move the duals by what arrived; then average with the neighbours whose parameters can be decoded."""
        theta, mixing, clip = self.options.theta, self.options.mixing, self.options.clip
        edges: EdgeState = state.edges
        params, mirror = state.params, edges.mirror
        if mirror:
            mirror = _catch_up(mirror, theta, headers, clip)
            decoded = 0.5 * view.sign[:, None] * (inbox.dual - mirror.value)
            at_hand = headers.received & (mirror.stale == 0)
            params = gossip(params, decoded, mixing * round_view.weight_in, at_hand, clip)
            mirror = _remember(mirror, outbox.dual, round_view.sends, clip)
        dual = torch.where(headers.received[:, None], _moved(edges.dual, inbox.dual, theta, clip), edges.dual)
        return state._replace(params=params, edges=EdgeState(dual, mirror))

    def estimate(self, state: State) -> Tensor:
        """Return the parameters."""
        params: Tensor = state.params
        return params


def _moved(dual: Tensor, message: Tensor, theta: float, clip: float | None) -> Tensor:
    """Return what duals ``[D, P]`` become by (1) or (3)."""
    moved = (1 - theta) * dual + theta * message
    return moved if clip is None else within(moved, dual, clip)


def _messages_to_forget(theta: float, dtype: torch.dtype) -> int:
    """Return after how many applied messages an error in a mirror has fallen below rounding."""
    return 1 if theta == 1 else math.ceil(math.log(torch.finfo(dtype).eps) / math.log(1 - theta))


def _less_wrong(error: Tensor, distance: Tensor, theta: float, clip: float) -> Tensor:
    """Return the bounds e ``[D]`` after messages that were d ``[D]`` from the mirrors, by (4); below rounding, 0."""
    beyond = (theta * (distance + error) - clip).clamp(min=0) + (theta * distance - clip).clamp(min=0)
    error = (1 - theta) * error + torch.minimum(theta * error, beyond)
    return torch.where(error > torch.finfo(error.dtype).eps * clip, error, 0)


def _catch_up(mirror: Mirror, theta: float, headers: Headers, clip: float | None = None) -> Mirror:
    """Apply the unresolved messages that the neighbour had applied when it wrote, the oldest first as it did.

    A message newer than all that the neighbour had applied stays unresolved: it may still be on its way.
    """
    value, pending, unresolved, stale = mirror
    history = pending.shape[0]
    news = torch.where(headers.received, headers.applied & unresolved, 0)
    if clip is None:
        forgotten = (news >> history != 0) | (headers.received & (unresolved & _OLDER != 0))
        stale = torch.where(forgotten, _messages_to_forget(theta, value.dtype), stale)
    else:
        ages = torch.arange(history, _BITS, device=news.device)
        stale = stale + clip * (news[:, None] >> ages & 1).sum(1)
    for age in reversed(range(history)):
        taken = (news >> age) & 1 == 1
        if clip is None:
            less = (stale - 1).clamp(min=0)
        else:
            less = _less_wrong(stale, torch.linalg.vector_norm(pending[age] - value, dim=1), theta, clip)
        stale = torch.where(taken, less, stale)
        value = torch.where(taken[:, None], _moved(value, pending[age], theta, clip), value)
    newest = headers.applied & -headers.applied  # the lowest bit that is set
    return Mirror(value, pending, torch.where(headers.received, unresolved & (newest - 1), unresolved), stale)


def _remember(mirror: Mirror, sent: Tensor, sends: Tensor, clip: float | None = None) -> Mirror:
    """Put the message that was just sent, ``[D, P]``, in front of the pending ones."""
    shifted = torch.cat([sent[None], mirror.pending[:-1]])
    unresolved = ((mirror.unresolved & _NEWEST) << 1) | (mirror.unresolved & _OLDER) | 1
    mirror = mirror._replace(
        pending=torch.where(sends[:, None], shifted, mirror.pending),
        unresolved=torch.where(sends, unresolved, mirror.unresolved),
    )
    if clip is None:
        return mirror
    leaves = sends & (mirror.unresolved & _OLDER != 0)
    return mirror._replace(unresolved=mirror.unresolved & _NEWEST, stale=mirror.stale + clip * leaves)
