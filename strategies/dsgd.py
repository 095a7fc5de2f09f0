"""Decentralized SGD with momentum.

Lian, Zhang, Zhang, Hsieh, Zhang, Liu, "Can decentralized algorithms outperform centralized algorithms? A case study
for decentralized parallel stochastic gradient descent", NeurIPS 2017, with local steps and heavy-ball momentum:

    v_i <- momentum v_i + g_i,    w_i <- w_i - mu v_i                 (K times a round)
    w_i <- W_ii w_i + sum_j W_ij w_j                                  (once a round)

The momentum is local and is not exchanged. With data that differ, the nodes rest at a biased point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Objective, Spec, View
from strategies.lazy_torch import Tensor
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange
from strategies.parts.heavy_ball import HeavyBallStep, start_velocity


class DSGDOptions(CompressibleGossipOptions):
    """Parameters of decentralized SGD."""

    name: Literal["dsgd"] = "dsgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="heavy-ball momentum on the local gradient")

    spec: ClassVar[Spec] = Spec(directed="balanced", compress=("top-k", "random-k", "quantize"))


class DSGDState(NamedTuple):
    """Parameters ``[P]`` and velocity ``[P]`` (empty without momentum)."""

    params: Tensor
    velocity: Tensor | tuple[()]


@dataclass(frozen=True)
class DSGD(HeavyBallStep, GossipExchange):
    """Decentralized SGD with momentum (Lian et al. 2017), for one node."""

    options: DSGDOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> DSGDState:
        """Start at ``params``, at rest."""
        return DSGDState(params, start_velocity(params, self.options.momentum))
