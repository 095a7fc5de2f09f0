"""Gossip averaging: the one way in which parameters of neighbours are mixed, and the exchange made of it.

    w_i <- w_i + sum_j W_ij (w_j - w_i)        over the neighbours whose value is at hand

Written as a difference, a missing neighbour's weight stays with node i itself, so that the rows of W always sum to
one; with every value at hand it is w_i <- W_ii w_i + sum_j W_ij w_j (Xiao and Boyd, "Fast linear iterations for
distributed averaging", Systems & Control Letters 53, 2004).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from strategies.contract import Headers, RoundView, State, View


class ParamsMessage(NamedTuple):
    """A node's parameters ``[P]``, the same for every neighbour."""

    params: Tensor


def gossip(params: Tensor, neighbours: Tensor, weights: Tensor, at_hand: Tensor) -> Tensor:
    """Return the mixed parameters ``[P]``.

    Args:
        params: w_i, ``[P]``.
        neighbours: w_j per slot, ``[D, P]``; finite where not at hand.
        weights: W_ij per slot, ``[D]``.
        at_hand: slots whose value may be used, bool ``[D]``.
    """
    weights = weights * at_hand
    return torch.addcmul(weighted_sum(weights, neighbours), 1 - weights.sum(), params)


def weighted_sum(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return the sum ``[P]`` of ``vectors [D, P]`` with ``weights [D]``.

    As a matrix product: stacked, the product of vector and matrix would be taken by columns, far apart in memory.
    """
    return (weights[None] @ vectors)[0]


class GossipExchange:
    """The exchange of an algorithm that sends its parameters and averages; its state has a field ``params``."""

    def edge_penalty(self, degree: int, neighbour_degree: int, local_steps: int) -> float:
        """There are no edge constraints."""
        return 0.0

    def outgoing(self, state: State, view: View, round_view: RoundView) -> ParamsMessage:
        """Send the parameters to every neighbour."""
        return ParamsMessage(state.params)

    def incoming(
        self,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> State:
        """Average with the neighbours that were heard."""
        return state._replace(params=gossip(state.params, inbox.params, round_view.weight_in, headers.received))

    def estimate(self, state: State) -> Tensor:
        """Return the parameters."""
        params: Tensor = state.params
        return params
