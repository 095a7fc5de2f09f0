"""Edge balance: how strong edge constraints have to be, from what they hold in balance.

At rest the pull p_i = sum_j eta_ij (w_i - a_ij z_i|j) of node i's edges is the opposite of its gradient g_i. On the way
there, with running means over the local steps,

    r_i = mean(-<p_i, g_i>) / mean(|p_i|^2)                                                                      (1)

says which part of the pull is needed: the regression of the opposite gradient on the pull. It is 0 where the nodes'
data are alike, so that a pull only hinders them, 1 at rest and more where the pull is too weak as yet for the node's
own labels. Every node sends its r, one number, and both ends of an edge scale its default penalty alike,

    eta_ij <- eta_ij r_i r_j                                                                                     (2)

At rest, where r = 1, (2) is the default itself. Where a node does with a part of delta (``damping_part``), its r is
multiplied by the root of that part, since eta is in proportion to delta.

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
"""Part of the running means that stays in a local step."""

_LEAST, _MOST, _START = 1 / 3, 2.0, 0.5
"""Bounds of r, so that an edge never lets go; and r before anything has pulled."""

_LEAST_SENT = 0.01
"""Bound of what is sent, from which no node departs but one that lies."""


class EdgeBalance(NamedTuple):
    """The means of (1) and the root of the part of delta, ``[]``, and r_i r_j of every edge, ``[D]``."""

    opposed: Tensor
    energy: Tensor
    damping_root: Tensor
    scale: Tensor


def start_balance(view: View) -> EdgeBalance:
    """Return the balance before the first step."""
    zero = view.sign.new_zeros(())
    return EdgeBalance(zero, zero, zero + 1, torch.full_like(view.sign, _START**2))


def after_pull(balance: EdgeBalance, pull: Tensor, gradient: Tensor) -> EdgeBalance:
    """Return the balance after a local step with this pull and gradient, ``[P]`` each.

    A pull so large that its square overflows, as after a message that a neighbor made up, does not count: the means
    would never be finite again.
    """
    opposed, energy = -torch.dot(pull, gradient), torch.dot(pull, pull)
    is_finite = opposed.isfinite() & energy.isfinite()
    opposed, energy = (
        torch.where(is_finite, new, old) for new, old in ((opposed, balance.opposed), (energy, balance.energy))
    )
    is_first = balance.energy == 0
    return balance._replace(
        opposed=torch.where(is_first, opposed, _DECAY * balance.opposed + (1 - _DECAY) * opposed),
        energy=torch.where(is_first, energy, _DECAY * balance.energy + (1 - _DECAY) * energy),
    )


def ratio(balance: EdgeBalance) -> Tensor:
    """Return r by (1), ``[]``, within its bounds, for the node's part of delta."""
    known = balance.energy > 0
    needed = torch.where(known, balance.opposed / torch.where(known, balance.energy, 1), _START)
    return needed.clamp(_LEAST, _MOST) * balance.damping_root


def agreed(balance: EdgeBalance, theirs: Tensor, own: Tensor, headers: Headers) -> EdgeBalance:
    """Return the balance with (2) of the edges whose messages arrived.

    Args:
        balance: the node's.
        theirs: r as the neighbors sent it, ``[D]``.
        own: r as this node sent it, ``[]``.
        headers: of the messages.
    """
    scale = theirs.clamp(_LEAST_SENT, _MOST) * own
    return balance._replace(scale=torch.where(headers.received, scale, balance.scale))


def balanced(view: View, balance: EdgeBalance) -> View:
    """Return the view with the penalties that the two ends of every edge have agreed on."""
    return view._replace(edge_penalty=view.edge_penalty * balance.scale)
