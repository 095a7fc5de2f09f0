"""The partition: the training examples of each node, drawn from one data set or read from the nodes' own folders.

The partitions come from flwr-datasets, except "classes", "dirichlet-prior" and "dirichlet-uniform", which it does not
have, and "iid", which needs no library that takes seconds to load. All of them work on the labels in an order shuffled
by the seed, since flwr-datasets itself deals out the examples of a class in the stored order. In regression the labels
are quantile bins of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config import Config, build_topology
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.extras import require_extra
from ngpd_fl.config.partitions import (
    ClassesPartition,
    DirichletPartition,
    DirichletPriorPartition,
    DirichletUniformPartition,
    IIDPartition,
    IndicesPartition,
    NaturalPartition,
    PartitionConfig,
    PathologicalPartition,
    QuantityPartition,
    ShardsPartition,
)
from ngpd_fl.config.sections import NODE_FOLDERS
from ngpd_fl.core.isolation import no_warnings
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data.classes import absent
from ngpd_fl.data.dataset import Partition
from ngpd_fl.data.index_lists import index_lists
from ngpd_fl.data.load import load_dataset
from ngpd_fl.data.natural import natural_parts
from ngpd_fl.data.node_folders import read_node_folders
from ngpd_fl.data.placement import place
from ngpd_fl.data.task import Task, TokenClassification

Parts = list[NDArray[np.int64]]


def divide(config: Config, hosted: Sequence[int] | None = None) -> Partition:
    """Return the data of a run and the training examples of each node.

    Args:
        config: the run's configuration.
        hosted: the nodes of this process. Defaults to all nodes. With node folders, only theirs are read.

    Raises:
        InputError: the data cannot be read, or not partitioned in this way.
    """
    if config.data.dataset == NODE_FOLDERS:
        return read_node_folders(config, hosted)
    dataset = load_dataset(config.data, config.seed, dtype=getattr(torch, config.engine.dtype))
    parts = deal(dataset.train.labels, dataset.task, config, dataset.train_index, dataset.owners)
    evaluated = dataset.split(config.evaluation.split)
    if not len(evaluated):
        raise InputError(f"evaluation.split: {dataset.name} has no {config.evaluation.split} examples")
    return Partition(dataset, parts, evaluated)


def deal(
    labels: Tensor, task: Task, config: Config, train_index: Tensor | None = None, owners: Tensor | None = None
) -> Parts:
    """Partition examples among the nodes, and place the parts; see ``partition_labels``.

    Args:
        labels: of the training examples, ``[M, ...]``.
        task: their meaning.
        config: the run's configuration.
        train_index: as in ``Dataset``, for index lists.
        owners: likewise, for the natural partition.
    """
    num_nodes, name, dataset = config.topology.nodes, config.partition.name, config.data.dataset
    if isinstance(config.partition, IndicesPartition):
        train_index = torch.arange(len(labels)) if train_index is None else train_index
        parts = index_lists(config.partition, num_nodes, train_index)
    elif isinstance(config.partition, NaturalPartition):
        if owners is None:
            raise InputError(
                f"partition.name: natural needs the owner of each example, but {dataset} has none; name the column of "
                "a Hugging Face data set in data.node_column"
            )
        parts = natural_parts(owners.numpy(), num_nodes, config.partition, config.seed)
    elif isinstance(task, TokenClassification) and not isinstance(config.partition, IIDPartition | QuantityPartition):
        raise InputError(
            f"partition.name: {name} goes by the class of an example, but those of {dataset} have one at each "
            f"position; allowed: iid, quantity, indices{', natural' * (owners is not None)}"
        )
    else:
        parts = partition_labels(task.strata(labels).numpy(), num_nodes, config.partition, config.seed)
    if config.data.placement is None:
        return parts
    counts = task.node_counts(labels, parts)
    edges = build_topology(config).edges
    rng = generator(config.seed, Purpose.PLACEMENT)
    return [parts[part] for part in place(counts, edges, config.data.placement, rng)]


def partition_labels(labels: NDArray[np.int64], num_nodes: int, config: PartitionConfig, seed: int) -> Parts:
    """Partition examples among nodes by their labels.

    Args:
        labels: of the training examples, int64 ``[M]``.
        num_nodes: N.
        config: the kind of partition.
        seed: keys every draw.

    Returns:
        Per node, the sorted indices of its examples, int64 ``[M_i]`` with M_i >= 1. No example lies on two nodes. All
        lie on some node, except: classes that no node was assigned ("classes", "pathological"), and the examples that
        remain when shards of equal size are cut ("shards").

    Raises:
        InputError: the partition is not possible; the message names the key.
    """
    if num_nodes > len(labels):
        raise InputError(f"topology.nodes: {num_nodes} nodes but only {len(labels)} training examples")
    _check(labels, num_nodes, config)
    rng = generator(seed, Purpose.PARTITION)
    order = rng.permutation(len(labels))
    if isinstance(config, IIDPartition):
        parts = np.array_split(np.arange(len(labels)), num_nodes)
    elif isinstance(config, ClassesPartition):
        parts = _by_classes(labels[order], num_nodes, config.classes_per_node)
    elif isinstance(config, DirichletUniformPartition):
        parts = _by_nodes_shares(labels[order], num_nodes, np.full(int(labels.max()) + 1, config.alpha), rng)
    elif isinstance(config, DirichletPriorPartition):
        parts = _by_nodes_shares(labels[order], num_nodes, config.alpha * np.bincount(labels) / len(labels), rng)
    else:
        parts = _by_flower(labels[order], num_nodes, config, seed=int(rng.integers(2**63)))
    return [np.sort(order[part]) for part in parts]


def _check(labels: NDArray[np.int64], num_nodes: int, config: PartitionConfig) -> None:
    """Raise ``InputError`` for what is impossible whatever is drawn."""
    num_images = len(labels)
    if isinstance(config, ClassesPartition | PathologicalPartition):
        num_classes = len(np.unique(labels))
        if config.classes_per_node > num_classes:
            raise InputError(
                f"partition.classes_per_node: {config.classes_per_node} classes on each node, but the data set has "
                f"only {num_classes}"
            )
    if isinstance(config, ShardsPartition) and config.shards_per_node * num_nodes > num_images:
        raise InputError(
            f"partition.shards_per_node: {config.shards_per_node} shards on each of {num_nodes} nodes "
            f"(topology.nodes) are more than the {num_images} training examples"
        )
    if isinstance(config, DirichletPartition) and config.min_size * num_nodes > num_images:
        raise InputError(
            f"partition.min_size: {config.min_size} examples on each of {num_nodes} nodes (topology.nodes) are more "
            f"than the {num_images} training examples"
        )


def _by_classes(labels: NDArray[np.int64], num_nodes: int, classes_per_node: int) -> Parts:
    """Give node i the classes (i n + k) mod C for k < n; every class is shared evenly among the nodes that have it."""
    num_classes = int(labels.max()) + 1
    holders: list[list[int]] = [[] for _ in range(num_classes)]
    for node in range(num_nodes):
        for k in range(classes_per_node):
            holders[(node * classes_per_node + k) % num_classes].append(node)
    pieces: list[Parts] = [[] for _ in range(num_nodes)]
    for label, nodes in enumerate(holders):
        examples = np.flatnonzero(labels == label)
        if nodes and not len(examples):
            raise InputError(
                f"partition.name: classes gives each node some of the classes 0 to {num_classes - 1}, but no "
                f"training example is of {absent(np.unique(labels).tolist(), num_classes)}; number the classes from 0 "
                "without gaps, or use another partition, such as dirichlet"
            )
        if len(examples) < len(nodes):
            raise InputError(
                f"topology.nodes: class {label} has {len(examples)} training examples for {len(nodes)} nodes; use "
                "fewer nodes or a smaller partition.classes_per_node"
            )
        for node, piece in zip(nodes, np.array_split(examples, max(len(nodes), 1)), strict=False):
            pieces[node].append(piece)
    return [np.concatenate(of_node) for of_node in pieces]


def _by_nodes_shares(
    labels: NDArray[np.int64], num_nodes: int, concentration: NDArray[np.float64], rng: np.random.Generator
) -> Parts:
    """Give each node equally many examples, of classes in shares that it draws; of others where one is used up.

    The shares are drawn with a ``concentration [C]``; a class where it is 0 gets none.
    """
    pools = [np.flatnonzero(labels == label) for label in range(len(concentration))]
    held = concentration > 0
    left = np.array([len(pool) for pool in pools])
    parts = []
    for size in map(len, np.array_split(labels, num_nodes)):
        shares, wanted = np.zeros(len(concentration)), np.zeros(len(concentration), dtype=np.int64)
        shares[held] = rng.dirichlet(concentration[held])
        while (missing := size - wanted.sum()) > 0:
            open_shares = np.where(wanted < left, shares, 0.0)
            if open_shares.sum() < 1e-12:  # of its own classes nothing is left
                open_shares = (left - wanted).astype(float)
            drawn = rng.multinomial(missing, open_shares / open_shares.sum())
            wanted = np.minimum(wanted + drawn, left)
        parts.append(
            np.concatenate([pool[len(pool) - n :][:k] for pool, n, k in zip(pools, left, wanted, strict=True)])
        )
        left = left - wanted
    return parts


def _by_flower(labels: NDArray[np.int64], num_nodes: int, config: PartitionConfig, seed: int) -> Parts:
    require_extra("datasets", f"partition.name: {config.name}")
    with no_warnings():  # in a notebook, of a widget that nothing here needs
        import datasets  # slow to import

    if not hasattr(datasets, "Dataset"):
        raise InputError(
            f"partition.name: {config.name} needs the library datasets, but {datasets.__file__} has its name and is "
            "found before it; rename that file"
        )
    partitioner = _partitioner(num_nodes, config, seed)
    columns = {"label": labels, "index": np.arange(len(labels))}
    partitioner.dataset = datasets.Dataset.from_dict(columns)
    try:
        with no_warnings():  # one per draw of "dirichlet", and deprecations inside datasets
            return [partitioner.load_partition(node).with_format("numpy")[:]["index"] for node in range(num_nodes)]
    except ValueError as error:  # its only way to say that a partition did not work out
        raise InputError(_what_to_change(config, num_nodes, len(labels))) from error


def _partitioner(num_nodes: int, config: PartitionConfig, seed: int) -> Any:
    from flwr_datasets import partitioner  # slow to import

    match config:
        case DirichletPartition():
            return partitioner.DirichletPartitioner(
                num_nodes, "label", config.alpha, config.min_size, self_balancing=False, shuffle=False, seed=seed
            )
        case PathologicalPartition():
            return partitioner.PathologicalPartitioner(
                num_nodes, "label", config.classes_per_node, config.class_assignment_mode, shuffle=False, seed=seed
            )
        case ShardsPartition():
            return partitioner.ShardPartitioner(num_nodes, "label", config.shards_per_node, shuffle=False, seed=seed)
        case QuantityPartition():
            kinds = {
                "linear": partitioner.LinearPartitioner,
                "square": partitioner.SquarePartitioner,
                "exponential": partitioner.ExponentialPartitioner,
            }
            return kinds[config.growth](num_nodes)
    raise TypeError(f"not a partition of flwr-datasets: {config!r}")


def _what_to_change(config: PartitionConfig, num_nodes: int, num_images: int) -> str:
    given = f"{num_nodes} nodes (topology.nodes) and {num_images} training examples"
    match config:
        case DirichletPartition():
            return (
                f"partition.alpha: with {config.alpha}, {given}, some node got fewer than {config.min_size} examples "
                "(partition.min_size) in every draw; raise alpha, lower min_size or use fewer nodes"
            )
        case PathologicalPartition():
            return (
                f"partition.classes_per_node: with {config.classes_per_node}, {given}, a class has more nodes than "
                'examples; use fewer nodes or partition.class_assignment_mode="deterministic"'
            )
        case QuantityPartition():
            return f'partition.growth: with "{config.growth}", {given}, the first node gets no example; use fewer nodes'
    return f"partition.name: {config.name!r} does not work with {given}"
