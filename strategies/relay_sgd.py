"""RelaySGD: averages over a tree in which every node counts the same, some rounds late.

Vogels, He, Koloskova, Karimireddy, Lin, Stich, Jaggi, "RelaySum for decentralized deep learning on heterogeneous data",
NeurIPS 2021. After its local steps a node sends to each neighbor j the sum of what it knows from elsewhere, and how
many nodes that is:

    m_i|j <- w_i + sum_k m_k|i,    c_i|j <- 1 + sum_k c_k|i       (k: neighbors but j; m_k|i, c_k|i of last round)
    w_i   <- (w_i + sum_j m_j|i) / (1 + sum_j c_j|i)              (all neighbors j; m_j|i, c_j|i of this round)

On a tree each node's parameters arrive at every other exactly once, a round late for each node between the two. At
rest every node has the same average of w - mu g, hence all agree at the minimizer of the sum. With K local steps all
agree where the moves of K local steps sum to 0, as in federated averaging: not the minimizer where data differ.
The weights W are not used.

A message holds the mean m / c of a sum, and c as an integer, so that rounding it, and checks of its size, work as for
any node's own parameters.

Division is by the count, not by N: that is the paper's form for links that lose messages. What did not arrive in a
round is neither averaged nor relayed in the next one, so that the average is over fewer nodes. A neighbor's message
speaks for many nodes, so there is no ``clip``.

Momentum is heavy-ball momentum on the local gradient, as in decentralized SGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, RoundView, Spec, StrategyOptions, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.heavy_ball import HeavyBallStep, start_velocity


class RelaySGDOptions(StrategyOptions):
    """Parameters of RelaySGD."""

    name: Literal["relay-sgd"] = "relay-sgd"
    momentum: float = Field(0.0, ge=0, lt=1, description="heavy-ball momentum on the local gradient")

    spec: ClassVar[Spec] = Spec(per_edge=("mean", "nodes"), tree=True, static=True)


class RelayMessage(NamedTuple):
    """For every neighbor j the mean m_i|j / c_i|j ``[D, P]``, and of how many nodes it is, c_i|j, int32 ``[D, 1]``."""

    mean: Tensor
    nodes: Tensor


class RelaySGDState(NamedTuple):
    """Parameters ``[P]``, velocity ``[P]`` (empty without momentum), and what arrived last, 0 where nothing did."""

    params: Tensor
    velocity: Tensor | tuple[()]
    heard: RelayMessage


@dataclass(frozen=True)
class RelaySGD(HeavyBallStep, StrategyDefaults):
    """RelaySGD (Vogels et al. 2021), for one node."""

    options: RelaySGDOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> RelaySGDState:
        """Start at ``params``, at rest, with nothing to relay."""
        slots = len(view.sign)
        heard = RelayMessage(params.new_zeros(slots, len(params)), params.new_zeros(slots, 1).to(torch.int32))
        return RelaySGDState(params, start_velocity(params, self.options.momentum), heard)

    def outgoing(self, state: RelaySGDState, view: View, round_view: RoundView) -> RelayMessage:
        """Send each neighbor what is known from the others and from here."""
        sums, counts = state.heard.mean * state.heard.nodes, state.heard.nodes
        nodes = 1 + counts.sum(0) - counts
        return RelayMessage((state.params + sums.sum(0) - sums) / nodes, nodes.to(torch.int32))

    def incoming(
        self,
        state: RelaySGDState,
        view: View,
        round_view: RoundView,
        inbox: RelayMessage,
        outbox: RelayMessage,
        headers: Headers,
    ) -> RelaySGDState:
        """Average over all nodes that were heard of; slots of neighbors that were not hold zeros."""
        params = (state.params + (inbox.mean * inbox.nodes).sum(0)) / (1 + inbox.nodes.sum(0))
        return state._replace(params=params, heard=inbox)
