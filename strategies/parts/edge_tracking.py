"""Edge tracking: how each node learns the mean of all nodes' gradients, by duals on the edges.

Gradient tracking by averaging (``tracking``) passes changes on, as fast as the graph mixes; one that is lost is missing
ever after. Carnevale, Bastianello, Notarstefano, Carli, "ADMM-tracking gradient for distributed optimization over
asynchronous and unreliable networks", IEEE Transactions on Automatic Control 70 (8), 2025, solve average consensus,

    min sum_i 1/2 |x_i - d_i|^2    where    a_ij x_i + a_ji x_j = 0 on every edge,

by the exchange of ``edge_consensus``. Node i has u_i|j for each of its E_i edges, and once a round

    d_i <- 0.7 d_i + 0.3 g_i,    with g_i the mean gradient of the round's steps
    x_i  = (d_i + sum_j h_ij a_ij u_i|j) / (1 + sum_j h_ij),    h_ij = 2 / sqrt(E_i E_j)                         (1)
    send   v_i|j = u_i|j - 2 a_ij x_i
    receive v_j|i,   u_i|j <- (1 - theta) u_i|j + theta v_j|i                                                    (2)
    c_i  = x_i - d_i,    with x_i by (1) from the new u

At rest all x_i are the mean of the d_i, so that the corrections c_i sum to 0. A lost message leaves u as it is.

A g_i counts with four times the usual length at most, the geometric mean of those before. Else one round of a node that
has gone astray, whose gradient may be a hundred times as long, would lead all nodes astray for some rounds.

That, the running mean and the weight h are our own; whatever the d_i are, the c_i sum to 0 at rest. Without the running
mean, c_i swings where a node's gradient changes much within a round. With this h, (2) is faster than averaging on
sparse graphs; of white noise in d, x has a third of the variance.
See ``docs/explanation/search-for-settings.md``.
"""

from __future__ import annotations

from typing import NamedTuple

from strategies.contract import Headers, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import weighted_sum
from strategies.parts.mirror import moved

_NEW = 0.3
"""Weight of a round's mean gradient in d."""

_WEIGHT = 2.0
"""Sum of h over the edges of a node whose neighbors have as many edges."""

_LONGEST, _DECAY = 4.0, 0.9
"""Most that a round's mean gradient counts, in usual lengths; weight of the past in the usual length, for a round."""


class EdgeTracker(NamedTuple):
    """u_i|j ``[D, P]``; d_i, c_i and this round's sum of gradients ``[P]``; their number and usual length, ``[]``."""

    dual: Tensor
    mean: Tensor
    correction: Tensor
    total: Tensor
    steps: Tensor
    length: Tensor


def start_edge_tracker(params: Tensor, view: View) -> EdgeTracker:
    """Return a tracker of zeros."""
    zero, none = torch.zeros_like(params), params.new_zeros(())
    return EdgeTracker(view.sign[:, None] * zero, zero, zero, zero, none, none)


def with_gradient(tracker: EdgeTracker, gradient: Tensor) -> EdgeTracker:
    """Return the tracker with a step's gradient ``[P]`` added."""
    return tracker._replace(total=tracker.total + gradient, steps=tracker.steps + 1)


def edge_message(tracker: EdgeTracker, view: View, weights: Tensor) -> Tensor:
    """Return v_i|j ``[D, P]``, given 1 / sqrt(E_i E_j) as ``weights [D]``."""
    average = _average(tracker, _mean(tracker)[0], view, weights)
    return tracker.dual - 2 * view.sign[:, None] * average


def after_messages(
    tracker: EdgeTracker,
    view: View,
    weights: Tensor,
    messages: Tensor,
    headers: Headers,
    theta: float,
    clip: float | None,
) -> EdgeTracker:
    """Return the tracker of the next round, after (2).

    Args:
        tracker: the tracker at the end of this round's steps.
        view: the node's edges.
        weights: 1 / sqrt(E_i E_j), ``[D]``.
        messages: v_j|i, ``[D, P]``; finite where none was received.
        headers: which messages were received.
        theta: relaxation of (2).
        clip: bound on what a message changes; None for none.
    """
    dual = torch.where(headers.received[:, None], moved(tracker.dual, messages, theta, clip), tracker.dual)
    mean, length = _mean(tracker)
    correction = _average(tracker._replace(dual=dual), mean, view, weights) - mean
    zero = torch.zeros_like(mean)
    return EdgeTracker(dual, mean, correction, zero, torch.zeros_like(tracker.steps), length)


def _mean(tracker: EdgeTracker) -> tuple[Tensor, Tensor]:
    """Return d_i ``[P]`` and the usual length ``[]`` at the end of the round; those before it without a step."""
    fresh = tracker.total / tracker.steps.clamp(min=1)
    length = torch.linalg.vector_norm(fresh)
    is_known = length.isfinite() & (length > 0)
    length = torch.where(is_known, length, 1)
    usual = torch.where(is_known & (tracker.length == 0), length, tracker.length)
    bound = torch.where(is_known, _LONGEST * usual / length, 1).clamp(max=1)
    mean = torch.lerp(tracker.mean, bound * fresh, _NEW * tracker.steps.clamp(max=1))
    return mean, torch.where(is_known, usual**_DECAY * length ** (1 - _DECAY), usual)


def _average(tracker: EdgeTracker, mean: Tensor, view: View, weights: Tensor) -> Tensor:
    """Return x_i ``[P]`` by (1)."""
    weights = _WEIGHT * weights
    return (mean + weighted_sum(weights * view.sign, tracker.dual)) / (1 + weights.sum())
