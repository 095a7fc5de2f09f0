"""Tracking with local steps: how each node learns the mean of all nodes' directions.

Liu, Lin, Koloskova, Stich, "Decentralized gradient tracking with local steps", Optimization Methods and Software, 2024
(K-GT). A node steps along its own direction d, a gradient say, plus a correction c that is to make up for what sets it
apart from the other nodes' directions:

    w_i <- w_i - mu (d_i + c_i)                                         (K times a round)
    z_i  = mean of d_i + c_i over the K steps
    w_i <- sum_j W_ij w_j                                               (once a round)                           (1)
    c_i <- c_i - z_i + sum_j W_ij z_j                                   (once a round)                           (2)

The c start at 0 and always sum to 0 where W is doubly stochastic and every message arrives; so the mean of the nodes
follows the mean of their directions. At rest all w and all z agree and z = 0, so that d_i = -c_i: the directions sum to
0, at the minimizer of the sum. A message is w and z: twice the length of one of decentralized SGD.

``clip`` bounds the change of w and that of c, each by itself.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from strategies.contract import Headers, RoundView, State, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.gossip import GossipOptions, flow


class TrackingMessage(NamedTuple):
    """w_i and z_i, each ``[P]`` and the same for every neighbor."""

    params: Tensor
    direction: Tensor


class Tracker(NamedTuple):
    """The correction c_i ``[P]``, the sum of d_i over this round's steps ``[P]``, and their number, float ``[]``."""

    correction: Tensor
    total: Tensor
    steps: Tensor


class _Owner(Protocol):
    @property
    def options(self) -> GossipOptions: ...


def start_tracker(params: Tensor) -> Tracker:
    """Return a tracker without a correction."""
    return Tracker(torch.zeros_like(params), torch.zeros_like(params), params.new_zeros(()))


def tracked_step(params: Tensor, tracker: Tracker, direction: Tensor, lr: Tensor) -> tuple[Tensor, Tracker]:
    """Return w - mu (d + c) ``[P]`` and the tracker that has seen d ``[P]``."""
    return torch.addcmul(params, direction + tracker.correction, -lr), tracked(tracker, direction)


def tracked(tracker: Tracker, direction: Tensor) -> Tracker:
    """Return the tracker that has seen d ``[P]``."""
    return Tracker(tracker.correction, tracker.total + direction, tracker.steps + 1)


def corrected(tracker: Tracker, moved: Tensor) -> Tracker:
    """Return the tracker of the next round, after (2), whose sum of W_ij (z_j - z_i) is ``moved [P]``."""
    return start_tracker(moved)._replace(correction=tracker.correction + moved)


class TrackingExchange(StrategyDefaults):
    """The exchange (1), (2) of an algorithm whose state has the fields ``params [P]`` and ``tracker``."""

    def outgoing(self, state: State, view: View, round_view: RoundView) -> TrackingMessage:
        """Send w and z to every neighbor."""
        tracker: Tracker = state.tracker
        return TrackingMessage(state.params, tracker.total / tracker.steps.clamp(min=1) + tracker.correction)

    def incoming(
        self: _Owner,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: TrackingMessage,
        outbox: TrackingMessage,
        headers: Headers,
    ) -> State:
        """Average w, and correct c, with the neighbors that were heard."""
        weights, received, clip = round_view.weight_in, headers.received, self.options.clip
        params = state.params + flow(outbox.params, inbox.params, weights, received, clip)
        moved = flow(outbox.direction, inbox.direction, weights, received, clip)
        return state._replace(params=params, tracker=corrected(state.tracker, moved))
