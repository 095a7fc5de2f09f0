"""Edge balance: scales the penalty of each edge by how much of its pull is needed.

At rest the pull p_i = sum_j eta_ij (w_i - a_ij z_i|j) of node i's edges is the opposite of its gradient g_i. On the way
there, with running means over the local steps,

    r_i = mean(-<p_i, g_i>) / mean(|p_i|^2)                                                                      (1)

is the regression of the opposite gradient on the pull: the factor by which the pull should change. It is 0 where the
nodes' data are alike and a pull only hinders them, 1 at rest, and more where the pull is still too weak for the node's
own labels. Every node sends its r, one number, and both ends of an edge scale its default penalty alike,

    eta_ij = r_i r_j eta_ij^0                                                                                     (2)

At rest, where r = 1, (2) is the default itself. r is sent times two factors that say what a node's steps are like. One
is the mean trust factor: far from rest the trust region shortens the steps, and a strong pull would use up its radius.
The other is the root of the share of delta that the node uses (``damped_solve``), since eta is in proportion to delta.

The idea is that of residual balancing (He, Yang, Wang, "Alternating direction method with self-adaptive penalty
parameters for monotone variational inequalities", Journal of Optimization Theory and Applications 106, 2000), for each
edge as in Song, Yoon, Pavlovic, "Fast ADMM algorithm for distributed optimization with adaptive penalty", AAAI 2016;
the measure is our own.
"""

from __future__ import annotations

from typing import NamedTuple

from strategies.contract import Headers, View
from strategies.lazy_torch import Tensor, torch

_DECAY = 0.98
"""Weight of the past in the running means, for a local step."""

_LEAST, _MOST, _START = 1 / 3, 2.0, 0.5
"""Bounds of (1), so that no edge loses its pull; r, and the mean trust factor, before the first step."""

_LEAST_SENT = 0.01
"""Lower bound of r with both factors; what a neighbor sends is clamped to it as well."""


class EdgeBalance(NamedTuple):
    """The two means of (1) and that of the trust factor, ``[]`` each, and r_i r_j of every edge, ``[D]``."""

    opposed: Tensor
    energy: Tensor
    trust: Tensor
    scale: Tensor


def start_balance(view: View) -> EdgeBalance:
    """Return the balance before the first step."""
    zero = view.sign.new_zeros(())
    return EdgeBalance(zero, zero, zero + _START, torch.full_like(view.sign, _START**2))


def after_pull(balance: EdgeBalance, pull: Tensor, gradient: Tensor) -> EdgeBalance:
    """Return the balance after a local step with this pull and gradient, ``[P]`` each.

    A pull so large that its square overflows, as after a Byzantine neighbor's message, does not count: the means would
    never be finite again.
    """
    opposed, energy = -torch.dot(pull, gradient), torch.dot(pull, pull)
    is_finite = opposed.isfinite() & energy.isfinite()
    opposed, energy = (
        torch.where(is_finite, new, old) for new, old in ((opposed, balance.opposed), (energy, balance.energy))
    )
    is_first = balance.energy == 0
    return balance._replace(
        opposed=torch.where(is_first, opposed, _averaged(balance.opposed, opposed)),
        energy=torch.where(is_first, energy, _averaged(balance.energy, energy)),
    )


def after_trust(balance: EdgeBalance, factor: Tensor) -> EdgeBalance:
    """Return the balance after a step that the trust region shortened by ``factor []``."""
    return balance._replace(trust=_averaged(balance.trust, factor))


def ratio(balance: EdgeBalance, damping_share: Tensor) -> Tensor:
    """Return r by (1) within its bounds, times its two factors, ``[]``."""
    known = balance.energy > 0
    needed = torch.where(known, balance.opposed / torch.where(known, balance.energy, 1), _START)
    return (needed.clamp(_LEAST, _MOST) * balance.trust * damping_share.sqrt()).clamp(_LEAST_SENT)


def after_ratios(balance: EdgeBalance, theirs: Tensor, own: Tensor, headers: Headers) -> EdgeBalance:
    """Return the balance after an exchange of r: r_i r_j of the edges whose messages arrived.

    Args:
        balance: the balance of the node.
        theirs: r as the neighbors sent it, ``[D]``.
        own: r as this node sent it, ``[]``.
        headers: the headers of the messages.
    """
    scale = theirs.clamp(_LEAST_SENT, _MOST) * own
    return balance._replace(scale=torch.where(headers.received, scale, balance.scale))


def scaled_penalties(view: View, balance: EdgeBalance) -> View:
    """Return the view with its penalties scaled by (2)."""
    return view._replace(edge_penalty=view.edge_penalty * balance.scale)


def _averaged(mean: Tensor, value: Tensor) -> Tensor:
    return _DECAY * mean + (1 - _DECAY) * value
