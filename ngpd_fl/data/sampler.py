"""Sampler of minibatches: the examples that a node reads in each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.randomness import Purpose, generator


class BatchSampler:
    """Minibatches of every node, as a function of node and step.

    A node's examples form an endless stream of epochs, each a permutation of them keyed by (seed, node, epoch), and
    step s reads the stream's positions s B to (s + 1) B - 1. So every example is used once per epoch, every batch has B
    examples (it may straddle epochs; a node with fewer than B examples repeats them), and the order of calls does not
    matter.
    """

    def __init__(self, parts: Sequence[NDArray[np.int64]], batch_size: int, seed: int) -> None:
        """Make a sampler of the examples of each node.

        Args:
            parts: per node, indices into the training examples, int64 ``[M_i]``; M_i >= 1 for nodes that are sampled.
            batch_size: B, examples per step.
            seed: the run's seed.
        """
        if batch_size < 1:
            raise ValueError("every batch needs an example")
        self._parts = parts
        self._batch_size = batch_size
        self._seed = seed
        # The epoch that each node read last: steps mostly come in order. One permutation per node bounds the memory.
        self._epochs: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def batches(self, nodes: Sequence[int], firsts: Sequence[int], count: int) -> NDArray[np.int64]:
        """Return the examples that ``nodes[i]`` reads in ``count`` steps from ``firsts[i]`` on, ``[count, n, B]``."""
        batches = np.empty((len(nodes), count, self._batch_size), dtype=np.int64)
        for stretch, node, first in zip(batches.reshape(len(nodes), -1), nodes, firsts, strict=True):
            self._fill(stretch, node, first)
        return batches.swapaxes(0, 1)

    def _fill(self, stretch: NDArray[np.int64], node: int, step: int) -> None:
        """Fill in the part of a node's stream that begins at ``step``."""
        size = len(self._parts[node])
        if not size:
            raise ValueError(f"node {node} needs an example")
        epoch, offset = divmod(step * self._batch_size, size)
        filled = 0
        while filled < len(stretch):
            taken = self._epoch(node, epoch)[offset : offset + len(stretch) - filled]
            stretch[filled : filled + len(taken)] = taken
            filled += len(taken)
            epoch, offset = epoch + 1, 0

    def _epoch(self, node: int, epoch: int) -> NDArray[np.int64]:
        known = self._epochs.get(node)
        if known is not None and known[0] == epoch:
            return known[1]
        order = generator(self._seed, Purpose.BATCH, node, epoch).permutation(self._parts[node])
        self._epochs[node] = (epoch, order)
        return order
