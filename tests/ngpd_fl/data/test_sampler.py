from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import BatchSampler

sizes_of_nodes = st.lists(st.integers(1, 12), min_size=1, max_size=4)
batch_sizes = st.integers(1, 30)
seeds = st.integers(0, 2**63 - 1)


def make_parts(sizes: list[int]) -> list[np.ndarray]:
    """Disjoint indices with gaps, so that an index into a part cannot pass for an image."""
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end) * 7 + 3 for size, end in zip(sizes, ends, strict=True)]


def indices(sampler: BatchSampler, node: int, step: int) -> np.ndarray:
    """The examples that a node reads in a step."""
    return sampler.batches([node], [step], 1)[0, 0]


@settings(max_examples=60, deadline=None)
@given(sizes=sizes_of_nodes, batch_size=batch_sizes, seed=seeds)
def test_each_epoch_uses_every_image_once(sizes: list[int], batch_size: int, seed: int) -> None:
    parts = make_parts(sizes)
    sampler = BatchSampler(parts, batch_size, seed)
    for node, part in enumerate(parts):
        batches = [indices(sampler, node, step) for step in range(3 * len(part) // batch_size + 1)]
        assert all(batch.shape == (batch_size,) and batch.dtype == np.int64 for batch in batches)
        stream = np.concatenate(batches)
        for epoch in range(len(stream) // len(part)):
            used = stream[epoch * len(part) : (epoch + 1) * len(part)]
            np.testing.assert_array_equal(np.sort(used), part)


@settings(max_examples=60, deadline=None)
@given(
    sizes=sizes_of_nodes,
    batch_size=batch_sizes,
    seed=seeds,
    calls=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=20),
)
def test_order_of_calls_does_not_matter(
    sizes: list[int], batch_size: int, seed: int, calls: list[tuple[int, int]]
) -> None:
    parts = make_parts(sizes)
    used = BatchSampler(parts, batch_size, seed)
    for node, step in calls:
        node %= len(parts)
        fresh = BatchSampler(parts, batch_size, seed)
        np.testing.assert_array_equal(indices(used, node, step), indices(fresh, node, step))


def test_batch_is_the_rows_of_its_nodes() -> None:
    parts = make_parts([5, 9, 2, 40])
    sampler, other = BatchSampler(parts, 4, 1), BatchSampler(parts, 4, 1)
    rows = sampler.batches([3, 0, 2], [6, 6, 1], 1)[0]
    assert rows.shape == (3, 4) and rows.dtype == np.int64
    for row, node, step in zip(rows, (3, 0, 2), (6, 6, 1), strict=True):
        np.testing.assert_array_equal(row, indices(other, node, step))
    np.testing.assert_array_equal(sampler.batches(np.array([3, 0, 2]), np.array([6, 6, 1]), 1)[0], rows)


def test_stream_is_keyed_by_seed_purpose_node_and_epoch() -> None:
    """Recorded runs depend on it: images 3 to 5 of node 1 in step 1 are the second half of its first epoch."""
    parts = make_parts([6, 6])
    sampler = BatchSampler(parts, 3, seed=5)
    first = generator(5, Purpose.BATCH, node=1, step=0).permutation(parts[1])
    second = generator(5, Purpose.BATCH, node=1, step=1).permutation(parts[1])
    np.testing.assert_array_equal(indices(sampler, 1, 1), first[3:])
    np.testing.assert_array_equal(indices(sampler, 1, 2), second[:3])


def test_nodes_epochs_and_seeds_have_their_own_order() -> None:
    part = np.arange(50)
    sampler = BatchSampler([part, part], 50, seed=0)
    orders = [indices(sampler, 0, 0), indices(sampler, 1, 0), indices(sampler, 0, 1)]
    orders.append(indices(BatchSampler([part], 50, seed=1), 0, 0))
    assert len({tuple(order) for order in orders}) == 4


def test_what_is_returned_belongs_to_the_caller() -> None:
    parts = make_parts([8])
    sampler = BatchSampler(parts, 4, 0)
    before = indices(sampler, 0, 0).copy()
    indices(sampler, 0, 0)[:] = -1
    np.testing.assert_array_equal(indices(sampler, 0, 0), before)
    np.testing.assert_array_equal(parts[0], make_parts([8])[0])


def test_memory_is_bounded_by_one_permutation_per_node() -> None:
    parts = make_parts([5, 7])
    sampler = BatchSampler(parts, 3, 0)
    for step in range(50):
        sampler.batches([0, 1], [step, step], 1)
    assert sum(len(order) for _, order in sampler._epochs.values()) == 12


@pytest.mark.parametrize(("sizes", "batch_size"), [([3, 0], 2), ([3], 0)])
def test_empty_nodes_and_batches_are_refused(sizes: list[int], batch_size: int) -> None:
    with pytest.raises(ValueError, match="needs an example"):
        BatchSampler([np.arange(size) for size in sizes], batch_size, 0).batches([0, 1], [0, 0], 1)
