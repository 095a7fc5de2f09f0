"""The natural partition: each node has all examples of one or several owners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.partitions import NaturalPartition
from ngpd_fl.core.randomness import Purpose, generator


def natural_parts(
    owners: NDArray[np.int64], num_nodes: int, config: NaturalPartition, seed: int
) -> list[NDArray[np.int64]]:
    """Return the sorted indices of each node's examples.

    Args:
        owners: the number of each training example's owner, int64 ``[M]``.
        num_nodes: N.
        config: how many owners a node gets.
        seed: keys which ones, unless node i has the i-th.

    Raises:
        InputError: there are too few owners.
    """
    numbers, owner = np.unique(owners, return_inverse=True)
    wanted = num_nodes * (config.owners_per_node or 1)
    if len(numbers) < wanted:
        detail = f" with {config.owners_per_node} owners each (partition.owners_per_node)" * bool(
            config.owners_per_node
        )
        raise InputError(
            f"topology.nodes: {num_nodes} nodes{detail}, but the training examples have {len(numbers)} owners"
        )
    dealt = np.arange(len(numbers))
    if len(numbers) > num_nodes:
        dealt = generator(seed, Purpose.PARTITION).permutation(len(numbers))
        dealt = dealt[: wanted if config.owners_per_node else None]
    node_of = np.full(len(numbers), -1)
    for node, some in enumerate(np.array_split(dealt, num_nodes)):
        node_of[some] = node
    nodes = node_of[owner]
    return [np.flatnonzero(nodes == node) for node in range(num_nodes)]
