"""Baselines of decentralized training: runs in which one place sees all gradients, all models or all data.

**FedAvg** (McMahan, Moore, Ramage, Hampson, Agueera y Arcas, "Communication-efficient learning of deep networks from
decentralized data", AISTATS 2017): nodes are the leaves of a star. After each round of K local steps the server sends
back the mean of their parameters, weighted by how many examples each has. All nodes take part in every round.

**FedPM** (Ishii et al. 2026) is FedAvg with the preconditioned mean (``curvature.mixing``): nodes also send the
preconditioners of their last steps.

**All-reduce SGD**: every step is on the mean of all nodes' gradients, so that there is one model; as gradients are
means over equal minibatches, it is a step on their union (``PooledMinibatches``). Bytes are those of a ring all-reduce
(Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of Parallel and
Distributed Computing 69, 2009): each node sends 2 (N - 1) / N of a vector.

**A single node** with all data takes as many steps as one node does, and sends nothing.

Each takes the local steps of an algorithm for peers, and leaves out its exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.mixing import preconditioned_mean
from ngpd_fl.engines.engine import EngineSettings, RoundInfo
from ngpd_fl.engines.minibatches import DataMinibatches, Drawn
from ngpd_fl.engines.node_group import NodeGroup
from ngpd_fl.engines.synchronous import SynchronousEngine
from strategies import Phase


class PooledMinibatches:
    """Minibatches of one node: the union of those that N nodes read in the step.

    Attributes:
        split: the training examples, as the nodes see them.
    """

    def __init__(self, minibatches: DataMinibatches, num_nodes: int) -> None:
        """Pool the minibatches of nodes 0 to N - 1."""
        self.split = minibatches.split
        self._minibatches = minibatches
        self._num_nodes = num_nodes

    def __call__(self, nodes: Tensor, steps: Sequence[int], phase: Phase) -> tuple[Any, Tensor]:
        """Return batches of N B examples, and their draws, with a leading axis of 1."""
        return self.draw(nodes.tolist(), steps, [phase])(0, slice(None))

    def on(self, device: torch.device) -> PooledMinibatches:
        """Return the same minibatches for a node on another device."""
        return PooledMinibatches(self._minibatches.on(device), self._num_nodes)

    def draw(self, nodes: Sequence[int], firsts: Sequence[int], phases: Sequence[Phase]) -> Drawn:
        """Draw for all N nodes at once; see ``RoundMinibatches``."""
        [first] = firsts
        drawn = self._minibatches.draw(range(self._num_nodes), [first] * self._num_nodes, phases)

        def pooled(step: int, rows: slice) -> tuple[Any, Tensor]:
            batch, draws = drawn(step, slice(None))
            inputs, labels, *keys = batch  # one network drops by one key
            of_all = (leaf.flatten(0, 1)[None] for leaf in (inputs, labels))
            return (*of_all, *(key[:1] for key in keys)), draws.flatten(0, 1)[None]

        return pooled


Average = Callable[[NodeGroup], Tensor]
"""The parameters ``[P]`` that a server makes of its nodes'."""


class BaselineEngine(SynchronousEngine):
    """Rounds of local steps without an exchange; optionally all nodes are set to an average after each."""

    def __init__(
        self,
        settings: EngineSettings,
        steps_per_round: int,
        bytes_of: Callable[[int], int],
        average: Average | None = None,
    ) -> None:
        """Put every node at the common start.

        Args:
            settings: the run.
            steps_per_round: local steps of a round, summed over all nodes that work on it.
            bytes_of: round -> bytes sent in it.
            average: what all nodes are set to after a round. Defaults to what each has.
        """
        super().__init__(settings)
        self._steps_per_round = steps_per_round
        self._bytes_of = bytes_of
        self._average = average

    def run_round(self) -> RoundInfo:
        """Run K local steps, then average."""
        steps = self.group.work(self.round)
        if self._average is not None:
            self.group.set_params(self._average(self.group))
        sent = self._bytes_of(self.round)
        self.round += 1
        return RoundInfo(steps.loss.mean(), steps.shrink.mean(), self._steps_per_round, sent)


def weighted_mean(shares: Tensor) -> Average:
    """Return the mean with the nodes' ``shares [N]``, 1 in sum: FedAvg's."""
    return lambda group: (shares[None] @ group.params(in_order=True))[0]


def weighted_preconditioned_mean(kfac: KFAC, shares: Tensor) -> Average:
    """Return the preconditioned mean with ``shares [N]``, 1 in sum, of states with a ``curvature``: FedPM's."""
    return lambda group: preconditioned_mean(
        kfac, [state.curvature for state in group.states], group.params(), shares[group.nodes]
    )


def fedavg_bytes(num_nodes: int, vector_bytes: int, more_bytes: int = 0) -> int:
    """Return the bytes over a star in a round: each node's model and ``more_bytes`` to the server, the mean back."""
    return num_nodes * (2 * vector_bytes + more_bytes)


def all_reduce_bytes(num_nodes: int, vector_bytes: int) -> int:
    """Return the bytes that all N nodes send in a ring all-reduce of one vector."""
    return 2 * (num_nodes - 1) * vector_bytes
