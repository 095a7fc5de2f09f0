"""Client drift: by how much local steps lower a node's own loss within a round.

Between two exchanges a node's model moves to its own data, whose loss falls; the exchange brings it back. With l0 and
l1 running means over the rounds of the minibatch loss in a round's first and in its last step,

    drift = max(0, 1 - l1 / l0)                                                                                  (1)

It is 0 with one local step, where the two are the same, small where the data of all nodes are alike, and near 1 where a
node with one label is sure of it at the end of each round but not at the start. The term is that of Karimireddy et al.,
"SCAFFOLD: stochastic controlled averaging for federated learning", ICML 2020; the measure is our own.
"""

from __future__ import annotations

from typing import NamedTuple

from strategies.lazy_torch import Tensor, torch

_DECAY = 0.9
"""Weight of the past in the running means, for a round."""


class ClientDrift(NamedTuple):
    """l0, l1, the last step's loss, 1 before the first step of a round (else 0), and the exchanges, each ``[]``."""

    first: Tensor
    last: Tensor
    latest: Tensor
    is_first: Tensor
    rounds: Tensor


def start_drift(params: Tensor) -> ClientDrift:
    """Return the drift before the first step."""
    zero = params.new_zeros(())
    return ClientDrift(zero, zero, zero, zero + 1, zero)


def after_step(drift: ClientDrift, loss: Tensor) -> ClientDrift:
    """Return the drift after a local step with this minibatch loss ``[]``."""
    first = torch.where(drift.is_first > 0, _averaged(drift.first, loss, drift.rounds), drift.first)
    return drift._replace(first=first, latest=loss, is_first=torch.zeros_like(loss))


def after_exchange(drift: ClientDrift) -> ClientDrift:
    """Return the drift after an exchange, which ends the round."""
    last = _averaged(drift.last, drift.latest, drift.rounds)
    return drift._replace(last=last, is_first=torch.ones_like(last), rounds=drift.rounds + 1)


def amount(drift: ClientDrift) -> Tensor:
    """Return the client drift (1), ``[]``; 0 before the first exchange."""
    known = (drift.rounds > 0) & (drift.first > 0)
    return torch.where(known, 1 - drift.last / torch.where(known, drift.first, 1), 0).clamp(0, 1)


def _averaged(mean: Tensor, loss: Tensor, rounds: Tensor) -> Tensor:
    return torch.where(rounds > 0, _DECAY * mean + (1 - _DECAY) * loss, loss)
