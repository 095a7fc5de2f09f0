"""Gossip averaging: the one way in which parameters of neighbors are mixed, and the exchange made of it.

    w_i <- w_i + sum_j W_ij (w_j - w_i)        over the neighbors whose value is at hand

Written as a difference, a missing neighbor's weight stays with node i itself, so that the rows of W always sum to
one; with every value at hand it is w_i <- W_ii w_i + sum_j W_ij w_j (Xiao and Boyd, "Fast linear iterations for
distributed averaging", Systems & Control Letters 53, 2004).

**Clipping** (``clip``, tau) bounds the influence of any one neighbor, even a Byzantine node:

    w_i <- w_i + sum_j W_ij clip(w_j - w_i),    clip(x) = x min(1, tau / |x|)

with one tau for all (He, Karimireddy, Jaggi, "Byzantine-robust decentralized learning via ClippedGossip",
arXiv:2202.01545, 2022, who choose it by node and round).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from strategies.contract import Headers, RoundView, State, StrategyOptions, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults


class GossipOptions(StrategyOptions):
    """Parameters of averaging."""

    clip: float | None = Field(
        None,
        gt=0,
        description="longest change, as a Euclidean norm, that a neighbor's message makes to one's own state, against "
        "Byzantine neighbors; unset: any",
    )

    @model_validator(mode="after")
    def _unclipped(self) -> Self:
        if self.clip is not None and self.compress is not None:
            raise ValueError("clip: messages that are compressed cannot be clipped; unset it, or compress")
        return self


class ParamsMessage(NamedTuple):
    """A node's parameters ``[P]``, the same for every neighbor."""

    params: Tensor


class CompressibleGossipOptions(GossipOptions):
    """Parameters of averaging whose messages may be compressed."""

    gossip_step: float | None = Field(
        None,
        gt=0,
        le=1,
        description="gamma, how far to average where messages are compressed, smaller the less is sent; "
        "unset: from compress",
    )


def gossip(params: Tensor, neighbors: Tensor, weights: Tensor, at_hand: Tensor, clip: float | None = None) -> Tensor:
    """Return the mixed parameters ``[P]``.

    Args:
        params: w_i, ``[P]``.
        neighbors: w_j per slot, ``[D, P]``; finite where not at hand.
        weights: W_ij per slot, ``[D]``.
        at_hand: slots whose value may be used, bool ``[D]``, or the entries of which, ``[D, P]``.
        clip: tau, the bound on a neighbor's distance from w_i. Defaults to no bound.
    """
    if clip is not None:
        neighbors = within(neighbors, params, clip)
    if at_hand.dim() == 2:
        kept = weights[:, None] * at_hand
        return (1 - kept.sum(0)) * params + (kept * torch.where(at_hand, neighbors, 0)).sum(0)
    weights = weights * at_hand
    return torch.addcmul(weighted_sum(weights, neighbors), 1 - weights.sum(), params)


def flow(sent: Tensor, neighbors: Tensor, weights: Tensor, at_hand: Tensor, clip: float | None = None) -> Tensor:
    """Return what averaging adds to a node's vector, sum_j W_ij (w_j - w_i), ``[P]``; arguments as of ``gossip``.

    With ``sent``, the own vector as the neighbors have it, what flows over an edge is the same at both ends but for
    its sign, where the weights are symmetric and nothing is lost: the sum over all nodes stays, however a message is
    rounded.
    """
    return gossip(sent, neighbors, weights, at_hand, clip) - sent


def weighted_sum(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return the sum ``[P]`` of ``vectors [D, P]`` with ``weights [D]``.

    As a matrix product: stacked, the product of vector and matrix would be taken by columns, far apart in memory.
    """
    return (weights[None] @ vectors)[0]


def within(vectors: Tensor, centers: Tensor, radius: float) -> Tensor:
    """Return ``vectors [D, P]``, each drawn toward its center, ``[D, P]`` or ``[P]`` for all, to be within a radius.

    Those that are within it stay as they are, bit for bit.
    """
    change = vectors - centers
    norm = torch.linalg.vector_norm(change, dim=1, keepdim=True)
    return torch.where(norm > radius, centers + radius / norm * change, vectors)


class _Owner(Protocol):
    @property
    def options(self) -> GossipOptions: ...


class GossipExchange(StrategyDefaults):
    """The exchange of an algorithm that sends its parameters and averages; its state has a field ``params``."""

    def outgoing(self, state: State, view: View, round_view: RoundView) -> ParamsMessage:
        """Send the parameters to every neighbor."""
        return ParamsMessage(state.params)

    def incoming(
        self: _Owner,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> State:
        """Average with the neighbors that were heard."""
        params = gossip(state.params, inbox.params, round_view.weight_in, headers.received, self.options.clip)
        return state._replace(params=params)
