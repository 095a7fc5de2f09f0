"""Trust region: bounds how far a local step moves the network's outputs, as measured after the steps before it.

A natural-gradient step is bounded by the Kullback-Leibler divergence D between the outputs before and after it, which
to second order is 1/2 step^T F step (Amari, "Natural gradient works efficiently in learning", Neural Computation 10,
1998). K-FAC estimates F from earlier minibatches, and a gradient has most of its length where those left F flat: the
D of the next minibatch is 3 to 70,000 times the estimate, by network and time. So every node measures it. At the
local step from w_t, with s the step before, it takes

    D = mean over examples x of KL( p(. | x; w_t - s) || p(. | x; w_t) )                                         (1)

on a quarter of its new minibatch, and keeps the geometric running mean of what the estimate has to be multiplied by,

    gamma <- gamma^0.9 ( D / (1/2 s^T F s) )^0.1                                                                 (2)

A step is shortened until gamma/2 step^T F step is at most the radius. Martens and Grosse, "Optimizing neural networks
with Kronecker-factored approximate curvature", ICML 2015, section 6.4, rescale by the exact F of the same minibatch,
whose gradient made the step; on that one D says little about any other example. The measure is our own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from strategies.contract import Curvature
from strategies.lazy_torch import Tensor, torch

_DECAY = 0.9
"""Weight of the past in (2)."""

_START = 1e4
"""gamma before the first measurement: the first step is short, whatever the network."""

_LEAST, _MOST = 1.0, 1e6
"""Bounds of a measurement. Where a node is sure of all its examples, its outputs hardly change whatever the step, and
without the lower bound steps get longer and longer; after a Byzantine neighbor's message it may be anything.
"""


class TrustRegion(NamedTuple):
    """The last step s ``[P]``, the estimate 1/2 s^T F s ``[]``, and gamma ``[]``, 0 before the first measurement."""

    step: Tensor
    estimate: Tensor
    ratio: Tensor


def start_region(params: Tensor, radius: float) -> TrustRegion | tuple[()]:
    """Return the region before the first step; nothing where the radius is 0: steps are not bounded then."""
    if radius == 0:
        return ()
    zero = params.new_zeros(())
    return TrustRegion(torch.zeros_like(params), zero, zero)


def measured(
    region: TrustRegion | tuple[()], curvature: Curvature, params: Tensor, batch: Any
) -> TrustRegion | tuple[()]:
    """Return the region after (1) and (2), at the parameters ``[P]`` and minibatch of the next step."""
    if not region:
        return ()
    fresh = curvature.divergence(params, region.step, batch) / region.estimate
    is_known = fresh.isfinite() & (fresh > 0)
    fresh = torch.where(is_known, fresh, 1).clamp(_LEAST, _MOST)
    mean = torch.where(region.ratio > 0, region.ratio**_DECAY * fresh ** (1 - _DECAY), fresh)
    return region._replace(ratio=torch.where(is_known, mean, region.ratio))


def shortened(
    region: TrustRegion | tuple[()], change: Tensor, quadratic: Tensor, radius: float
) -> tuple[TrustRegion | tuple[()], Tensor]:
    """Return the region after a step, and the factor ``[]`` that keeps the step within it.

    Args:
        region: the region, measured.
        change: the step as it was solved for, ``[P]``.
        quadratic: its step^T F step, ``[]``.
        radius: the radius.
    """
    if not region:
        return (), torch.ones_like(quadratic)
    ratio = torch.where(region.ratio > 0, region.ratio, _START)
    factor = torch.clamp(torch.sqrt(2 * radius / (ratio * quadratic)), max=1.0)
    return region._replace(step=-factor * change, estimate=0.5 * factor**2 * quadratic), factor
