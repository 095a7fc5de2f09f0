from __future__ import annotations

import socket
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.partitions import (
    ClassesPartition,
    DirichletPartition,
    DirichletPriorPartition,
    DirichletUniformPartition,
    IIDPartition,
    PartitionConfig,
    PathologicalPartition,
    QuantityPartition,
    ShardsPartition,
)
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import Classification, label_skew, partition_labels, unused_classes

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))
NODES = 8

ALL: list[PartitionConfig] = [
    IIDPartition(),
    DirichletPartition(),
    DirichletPriorPartition(),
    DirichletUniformPartition(),
    PathologicalPartition(),
    PathologicalPartition(class_assignment_mode="first-deterministic"),
    PathologicalPartition(classes_per_node=3, class_assignment_mode="deterministic"),
    ClassesPartition(),
    ShardsPartition(),
    QuantityPartition(),
    QuantityPartition(growth="square"),
]
COMPLETE = ("iid", "dirichlet", "dirichlet-prior", "dirichlet-uniform", "classes", "quantity")


def counts_of(config: PartitionConfig, num_nodes: int = NODES, seed: int = 0) -> NDArray[np.int64]:
    return Classification(10).node_counts(torch.from_numpy(LABELS), partition_labels(LABELS, num_nodes, config, seed))


@pytest.mark.parametrize("config", ALL, ids=str)
def test_parts_are_disjoint_sorted_reproducible_and_keyed_by_the_seed(config: PartitionConfig) -> None:
    parts = partition_labels(LABELS, NODES, config, seed=7)
    assert len(parts) == NODES
    images = np.concatenate(parts)
    assert images.dtype == np.int64 and images.min() >= 0 and images.max() < len(LABELS)
    assert len(np.unique(images)) == len(images)
    assert all(len(part) > 0 and np.all(np.diff(part) > 0) for part in parts)
    if config.name in COMPLETE:
        assert len(images) == len(LABELS)
    for one, same in zip(parts, partition_labels(LABELS, NODES, config, seed=7), strict=True):
        np.testing.assert_array_equal(one, same)
    other = partition_labels(LABELS, NODES, config, seed=8)
    assert any(not np.array_equal(one, two) for one, two in zip(parts, other, strict=True))


@pytest.mark.parametrize("config", ALL, ids=str)
def test_no_warning_no_network_and_no_global_randomness(
    config: PartitionConfig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("network used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        partition_labels(LABELS, NODES, config, seed=0)
    assert heard == []
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("config", [DirichletPartition(), PathologicalPartition(), ShardsPartition()], ids=str)
def test_seed_keys_the_label_counts_too(config: PartitionConfig) -> None:
    assert not np.array_equal(counts_of(config, seed=0), counts_of(config, seed=1))


@pytest.mark.parametrize("num_nodes", [1, 7, 10])
def test_iid_is_the_partition_of_flwr_datasets(num_nodes: int) -> None:
    import datasets
    from flwr_datasets.partitioner import IidPartitioner

    labels = np.arange(95) % 10
    order = generator(3, Purpose.PARTITION).permutation(len(labels))
    partitioner = IidPartitioner(num_nodes)
    partitioner.dataset = datasets.Dataset.from_dict({"index": order})
    expected = [sorted(partitioner.load_partition(node)["index"]) for node in range(num_nodes)]
    assert [part.tolist() for part in partition_labels(labels, num_nodes, IIDPartition(), seed=3)] == expected


def test_iid_is_shuffled_and_even() -> None:
    labels = np.repeat(np.arange(10), 100)  # sorted: contiguous parts would hold one or two classes each
    parts = partition_labels(labels, NODES, IIDPartition(), seed=0)
    assert [len(part) for part in parts] == [125] * 8
    assert label_skew(Classification(10).node_counts(torch.from_numpy(labels), parts)).total_variation < 0.15
    sizes = [len(part) for part in partition_labels(labels, 7, IIDPartition(), seed=0)]
    assert max(sizes) - min(sizes) == 1


def test_eight_of_ten_classes_by_hand() -> None:
    """Node i misses (8 i + 8) mod 10 and the next: 8 9, 6 7, 4 5, 2 3, 0 1, 8 9, 6 7, 4 5."""
    missing = [(8, 9), (6, 7), (4, 5), (2, 3), (0, 1), (8, 9), (6, 7), (4, 5)]
    counts = counts_of(ClassesPartition(classes_per_node=8))
    assert [tuple(np.flatnonzero(row == 0)) for row in counts] == missing
    for label in range(10):
        owners = 8 - sum(label in pair for pair in missing)  # 7 or 6
        held = counts[:, label][counts[:, label] > 0]
        assert held.sum() == 100 and len(held) == owners and held.max() - held.min() <= 1


def test_two_of_ten_classes_by_hand() -> None:
    """Node i holds 2 i mod 10 and the next; nodes 5 to 7 meet 0 to 5 again, so 6 to 9 have one owner."""
    counts = counts_of(ClassesPartition(classes_per_node=2))
    expected = np.zeros((8, 10), dtype=np.int64)
    for node, pair in enumerate([(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (0, 1), (2, 3), (4, 5)]):
        expected[node, pair] = 100 if pair in [(6, 7), (8, 9)] else 50
    np.testing.assert_array_equal(counts, expected)


def test_unused_classes_are_reported() -> None:
    counts = counts_of(ClassesPartition(classes_per_node=3), num_nodes=2)
    assert unused_classes(counts) == [6, 7, 8, 9] and counts.sum() == 600
    assert unused_classes(counts_of(IIDPartition())) == []


def test_dirichlet_skew_grows_as_alpha_falls() -> None:
    skews = [label_skew(counts_of(DirichletPartition(alpha=alpha, min_size=1))) for alpha in (100.0, 1.0, 0.1)]
    variation = [skew.total_variation for skew in skews]
    assert variation[0] < 0.15 < 0.3 < variation[1] < 0.5 < variation[2]
    assert skews[0].jensen_shannon < skews[1].jensen_shannon < skews[2].jensen_shannon


def test_nodes_that_draw_their_shares_are_of_one_size_and_differ_as_alpha_says() -> None:
    variation = []
    for alpha in (1000.0, 1.0, 0.01):
        counts = counts_of(DirichletUniformPartition(alpha=alpha))
        assert set(counts.sum(axis=1)) == {125}
        variation.append(label_skew(counts).total_variation)
    assert variation[0] < 0.15 < 0.3 < variation[1] < 0.6 < 0.7 < variation[2]
    # The first node finds all classes in full: at alpha 0.01 it draws one, and takes all 100 of it.
    assert counts_of(DirichletUniformPartition(alpha=0.01))[0].max() == 100
    first = np.array([counts_of(DirichletUniformPartition(alpha=1.0), seed=seed)[0] for seed in range(60)])
    np.testing.assert_allclose(first.mean(axis=0), 12.5, atol=6)  # no class is preferred


RARE = np.random.default_rng(1).permutation(np.repeat([0, 1, 3], [6000, 3000, 1000]))
"""Three classes that differ in size, and one, 2, that nobody has."""


@pytest.mark.parametrize("alpha", [0.5, 4.0])
@pytest.mark.parametrize("partition", [DirichletPriorPartition, DirichletUniformPartition])
def test_the_moments_of_the_first_nodes_shares_are_those_of_the_dirichlet_distribution(
    partition: type[DirichletPriorPartition | DirichletUniformPartition], alpha: float
) -> None:
    """Of Dir(a): mean m = a / A and variance m (1 - m) / (A + 1), A the sum of a; the first of many nodes has no lack.

    A class without images is among those of Dir(alpha), which gives it up to the others; hence only three are drawn.
    """
    labels = RARE if partition is DirichletPriorPartition else np.unique(RARE, return_inverse=True)[1]
    of_class = np.bincount(labels) / len(labels)
    concentration = alpha * of_class if partition is DirichletPriorPartition else np.full(3, alpha)
    draws, size = 300, 100
    counts = [
        np.bincount(labels[partition_labels(labels, 100, partition(alpha=alpha), seed)[0]], minlength=len(of_class))
        for seed in range(draws)
    ]
    shares = np.array(counts) / size
    total = concentration.sum()
    mean = concentration / total
    variance = mean * (1 - mean) / (total + 1)
    seen = variance * (1 - 1 / size) + mean * (1 - mean) / size  # a node's images are a sample of its shares
    assert np.all(np.abs(shares.mean(axis=0) - mean) <= 4 * np.sqrt(seen / draws))
    np.testing.assert_allclose(shares.var(axis=0), seen, rtol=0.35)


def test_with_classes_of_one_size_the_prior_divides_alpha_by_their_number() -> None:
    np.testing.assert_array_equal(
        counts_of(DirichletPriorPartition(alpha=2.0)), counts_of(DirichletUniformPartition(alpha=0.2))
    )


def test_dirichlet_gives_every_node_min_size() -> None:
    def smallest(min_size: int) -> int:
        config = DirichletPartition(alpha=0.5, min_size=min_size)
        return int(min(counts_of(config, seed=seed).sum(axis=1).min() for seed in range(5)))

    assert smallest(min_size=1) < 60 <= smallest(min_size=60)


def test_dirichlet_draws_every_class_on_its_own() -> None:
    """Of two nodes and alpha 1, a class's share is uniform, so node 0's size has variance 10 * 100^2 / 12.

    A rule that stops giving to a node above average (``self_balancing``) would make the sizes more alike.
    """
    config = DirichletPartition(alpha=1.0, min_size=1)
    sizes = [counts_of(config, num_nodes=2, seed=seed)[0].sum() for seed in range(40)]
    assert 70 < np.std(sizes) < 115  # 91 is expected


def test_pathological_gives_every_node_its_number_of_classes() -> None:
    for count in (1, 3):
        counts = counts_of(PathologicalPartition(classes_per_node=count))
        assert np.all((counts > 0).sum(axis=1) == count)
    first = counts_of(PathologicalPartition(class_assignment_mode="first-deterministic"))
    assert all(first[node, node] > 0 for node in range(8))
    fixed = counts_of(PathologicalPartition(classes_per_node=3, class_assignment_mode="deterministic"))
    assert [tuple(np.flatnonzero(row)) for row in fixed] == [(i % 10, i + 1, i + 2) for i in range(7)] + [(7, 8, 9)]


def test_shards_hold_few_classes_in_equal_sizes() -> None:
    counts = counts_of(ShardsPartition(shards_per_node=2), num_nodes=10)
    assert np.all(counts.sum(axis=1) == 100) and np.all((counts > 0).sum(axis=1) <= 2)


def test_quantity_follows_its_growth() -> None:
    for growth, power in (("linear", 1), ("square", 2)):
        sizes = counts_of(QuantityPartition(growth=growth)).sum(axis=1)  # type: ignore[arg-type]
        share = np.arange(1, 9) ** power / (np.arange(1, 9) ** power).sum()
        assert np.all(np.abs(sizes - 1000 * share) < 8)  # what rounding leaves over goes to the last node
    sizes = counts_of(QuantityPartition(growth="exponential"), num_nodes=4).sum(axis=1)
    assert np.all(np.abs(sizes[1:] / sizes[:-1] - np.e) < 0.2)


@pytest.mark.parametrize(
    ("config", "num_nodes", "names"),
    [
        (IIDPartition(), 1001, ["topology.nodes: 1001", "1000 training examples"]),
        (ClassesPartition(classes_per_node=11), 8, ["partition.classes_per_node: 11", "only 10"]),
        (PathologicalPartition(classes_per_node=11), 8, ["partition.classes_per_node: 11", "only 10"]),
        (ClassesPartition(classes_per_node=5), 300, ["topology.nodes: class 0 has 100", "150 nodes"]),
        (PathologicalPartition(classes_per_node=5), 300, ["partition.classes_per_node: with 5", "topology.nodes"]),
        (DirichletPartition(alpha=0.01), 50, ["partition.alpha: with 0.01", "partition.min_size", "topology.nodes"]),
        (DirichletPartition(min_size=200), 8, ["partition.min_size: 200", "topology.nodes"]),
        (ShardsPartition(shards_per_node=200), 8, ["partition.shards_per_node: 200", "topology.nodes"]),
        (QuantityPartition(), 60, ['partition.growth: with "linear"', "topology.nodes"]),
        (QuantityPartition(growth="exponential"), 1000, ['partition.growth: with "exponential"']),
    ],
    ids=str,
)
def test_what_is_impossible_names_its_keys(config: PartitionConfig, num_nodes: int, names: list[str]) -> None:
    with warnings.catch_warnings(record=True) as heard, pytest.raises(InputError) as caught:
        warnings.simplefilter("always")
        partition_labels(LABELS, num_nodes, config, seed=0)
    assert heard == []
    message = str(caught.value)
    assert "\n" not in message and all(name in message for name in names), message


@pytest.mark.parametrize("alpha", [1e-3, 1e-8, 1e-300, 1e300])
def test_extreme_alpha_is_a_partition_or_an_error(alpha: float) -> None:
    try:
        parts = partition_labels(LABELS, 2, DirichletPartition(alpha=alpha, min_size=1), seed=0)
    except InputError:
        return
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))


def test_one_node_gets_everything() -> None:
    for config in (IIDPartition(), ClassesPartition(classes_per_node=10), ShardsPartition(), QuantityPartition()):
        (part,) = partition_labels(LABELS, 1, config, seed=0)
        np.testing.assert_array_equal(part, np.arange(len(LABELS)))


def test_classes_that_never_occur_are_named_rather_than_the_number_of_nodes() -> None:
    labels = np.array([1, 2, 3, 5] * 20)
    with pytest.raises(InputError) as raised:
        partition_labels(labels, 4, ClassesPartition(classes_per_node=2), seed=0)
    assert str(raised.value) == (
        "partition.name: classes gives each node some of the classes 0 to 5, but no training example is of 0, 4; "
        "number the classes from 0 without gaps, or use another partition, such as dirichlet"
    )
    with pytest.raises(InputError, match="5 classes on each node, but the data set has only 4"):
        partition_labels(labels, 4, PathologicalPartition(classes_per_node=5), seed=0)
    assert sum(map(len, partition_labels(labels, 4, DirichletPartition(alpha=10.0), seed=0))) == len(labels)
