"""From the configuration to what each node has: drawn from one data set, or as it lies in the nodes' own folders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ngpd_fl.config import Config, build_topology
from ngpd_fl.config.sections import NODE_FOLDERS
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data.dataset import Division
from ngpd_fl.data.loading import load_dataset
from ngpd_fl.data.node_folders import read_node_folders
from ngpd_fl.data.partition import Parts, partition_labels
from ngpd_fl.data.placement import place
from ngpd_fl.data.skew import label_counts


def divide(config: Config, hosted: Sequence[int] | None = None) -> Division:
    """Read the data and say which node has what.

    Args:
        config: the run's configuration.
        hosted: the nodes of this process; none: all. Where data lie at their nodes, no other's are read.

    Raises:
        InputError: the data cannot be read, or not divided in this way.
    """
    if config.data.dataset == NODE_FOLDERS:
        return read_node_folders(config, hosted)
    dataset = load_dataset(config.data, config.seed, dtype=getattr(torch, config.engine.dtype))
    parts = deal(dataset.train_groups, config)
    return Division(dataset, parts, dataset.split(config.evaluation.split))


def deal(labels: NDArray[np.int64], config: Config) -> Parts:
    """Divide images by their labels, int64 ``[M]``, and give each node its part; see ``partition_labels``."""
    parts = partition_labels(labels, config.topology.nodes, config.partition, config.seed)
    if config.data.placement is None:
        return parts
    counts = label_counts(labels, parts, int(labels.max()) + 1)
    edges = build_topology(config).edges
    rng = generator(config.seed, Purpose.PLACEMENT)
    return [parts[part] for part in place(counts, edges, config.data.placement, rng)]
