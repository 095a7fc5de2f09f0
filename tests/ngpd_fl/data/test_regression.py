"""Real-valued targets: their scale, their bins, scikit-learn's diabetes and a user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.partitions import ClassesPartition, ShardsPartition
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import Dataset, Regression, load_dataset, partition_labels
from ngpd_fl.data.task import column_statistics

DIABETES = DataConfig(dataset="diabetes", validation_fraction=0.1)


def regression(data: Dataset) -> Regression:
    assert isinstance(data.task, Regression)
    return data.task


def test_diabetes_is_standardized_by_its_training_patients() -> None:
    data = load_dataset(DIABETES, seed=0)
    inputs, targets = load_diabetes(scaled=False, return_X_y=True)
    is_test = np.arange(442) % 5 == 4
    scaler = StandardScaler().fit(inputs[~is_test])
    np.testing.assert_allclose(data.test.inputs, scaler.transform(inputs[is_test]), atol=1e-4)
    np.testing.assert_allclose(regression(data).restored(data.test.labels)[:, 0], targets[is_test], rtol=1e-6)
    learned = torch.cat([data.train.labels, data.validation.labels]).double()
    assert (len(data.train), len(data.validation), len(data.test)) == (319, 35, 88)
    assert data.train.labels.shape == (319, 1) and data.train.labels.dtype == torch.float32
    assert float(learned.mean()) == pytest.approx(0, abs=1e-6)
    assert float(learned.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_the_validation_split_has_every_bin() -> None:
    data = load_dataset(DIABETES, seed=3)
    sizes = np.bincount(data.task.groups(data.validation.labels))
    assert len(sizes) == 10 and set(sizes) <= {3, 4}


def test_bins_are_quantiles() -> None:
    targets = torch.tensor(np.random.default_rng(0).exponential(size=(1000, 2)))
    task = Regression.of(targets)
    labels = task.standardized(targets)
    bins = task.groups(labels)
    assert task.num_groups == 10 and np.bincount(bins).tolist() == [100] * 10
    order = targets[:, 0].argsort()
    assert (bins[order].diff() >= 0).all()
    assert torch.equal(task.groups(labels.double()), bins)


@pytest.mark.parametrize("values", [[5.0] * 9, [0.0] * 50 + [1.0] * 50, [0.0] * 95 + [1, 2, 3, 4, 5.0], [1, 2, 3.0]])
def test_equal_targets_share_a_bin_and_no_bin_is_empty(values: list[float]) -> None:
    targets = torch.tensor(values)[:, None]
    task = Regression.of(targets)
    bins = task.groups(task.standardized(targets))
    assert all(len(bins[targets[:, 0] == value].unique()) == 1 for value in values)
    assert (np.bincount(bins, minlength=task.num_groups) > 0).all() and len(np.bincount(bins)) == task.num_groups


def test_a_target_that_never_changes_is_only_centered() -> None:
    task = Regression.of(torch.full((3, 1), 0.1, dtype=torch.float64))
    assert task.standardized(torch.tensor([[0.1], [1.1]])).flatten().tolist() == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.parametrize("config", [ClassesPartition(classes_per_node=1), ShardsPartition(shards_per_node=1)])
def test_label_splits_go_by_the_value_of_the_target(config: ClassesPartition | ShardsPartition) -> None:
    data = load_dataset(DIABETES, seed=0)
    parts = partition_labels(data.task.strata(data.train.labels).numpy(), 10, config, seed=0)
    ranges = sorted((float(of.min()), float(of.max())) for of in (data.train.labels[part] for part in parts))
    if config.name == "classes":
        assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:], strict=False))
    assert max(high - low for low, high in ranges[1:-1]) < 1.2  # of about 3.5


def own(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(f"import numpy as np\nimport torch\ndef make():\n    return {text}\n")
    return DataConfig(dataset=f"{name}:make", validation_fraction=0)


VECTORS = "np.arange(12.0).reshape(6, 2)"


@pytest.mark.parametrize("targets", ["np.arange(6.0)", "torch.arange(6.0)[:, None]"])
def test_targets_of_the_users_own(targets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset(own(f"{VECTORS}, {targets}, 100 + {VECTORS}, {targets}", tmp_path, monkeypatch), seed=0)
    scaler = StandardScaler().fit(np.arange(6.0)[:, None])
    np.testing.assert_allclose(data.train.labels, scaler.transform(np.arange(6.0)[:, None]), rtol=1e-6)
    assert data.train.inputs.mean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert (data.test.inputs > 10).all()  # not by statistics of their own
    assert data.task.num_outputs == 1 and torch.equal(data.test.labels, data.train.labels)


def test_several_targets_and_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = "np.full((6, 1, 2, 2), 3.0)", "np.arange(12.0).reshape(6, 2)"
    data = load_dataset(own(f"{images}, {targets}, {images}, {targets}", tmp_path, monkeypatch), seed=0)
    assert data.task.num_outputs == 2
    assert (data.train.inputs == 3).all()  # images are taken as they are
    np.testing.assert_allclose(regression(data).restored(data.test.labels), np.arange(12.0).reshape(6, 2), atol=1e-5)


def test_a_large_offset_does_not_cost_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = "1e12 + np.arange(6.0)"
    data = load_dataset(own(f"{VECTORS}, {targets}, {VECTORS}, {targets}", tmp_path, monkeypatch), seed=0)
    np.testing.assert_allclose(data.train.labels[:, 0].diff().std(), 0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_statistics_neither_overflow_nor_vanish(size: float) -> None:
    values = size * torch.arange(6.0, dtype=torch.float64)[:, None]
    mean, std = column_statistics(values)
    np.testing.assert_allclose([float(mean), float(std)], [2.5 * size, np.arange(6).std() * size], rtol=1e-14)


def test_targets_and_inputs_have_the_digits_of_the_run() -> None:
    inputs, targets = load_diabetes(scaled=False, return_X_y=True)
    is_test = np.arange(442) % 5 == 4
    data = load_dataset(DIABETES, 0, dtype=torch.float64)
    scaler = StandardScaler().fit(inputs[~is_test])
    np.testing.assert_allclose(data.test.inputs, scaler.transform(inputs[is_test]), rtol=0, atol=1e-13)
    of_targets = StandardScaler().fit(targets[~is_test, None])
    np.testing.assert_allclose(data.test.labels, of_targets.transform(targets[is_test, None]), rtol=0, atol=1e-13)
    other = load_dataset(DIABETES, 0)
    assert torch.equal(data.task.groups(data.train.labels), other.task.groups(other.train.labels))


@pytest.mark.parametrize(
    "train, test, words",
    [
        ("np.arange(6.0)", "np.arange(6)", "train_labels are real-valued targets, 1 each, but test_labels classes"),
        ("np.ones((6, 2))", "np.ones((6, 3))", "real-valued targets, 2 each, but test_labels real-valued targets, 3"),
        ("np.ones((6, 2, 2))", "np.ones(6)", "train_labels have shape (6, 2, 2); expected (examples,) or (examples, t"),
        ("np.ones((6, 0))", "np.ones(6)", "train_labels have shape (6, 0); expected"),
        ("np.full(6, np.nan)", "np.ones(6)", "train_labels have values that are infinite or not a number"),
        ("np.ones(5)", "np.ones(6)", "6 train_inputs but 5 train_labels"),
        ("np.ones(6, complex)", "np.ones(6)", "train_labels are complex128; expected integers (classes) or floating"),
    ],
)
def test_what_is_wrong_with_targets(
    train: str, test: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own(f"{VECTORS}, {train}, {VECTORS}, {test}", tmp_path, monkeypatch)
    with pytest.raises(InputError) as raised:
        load_dataset(config, seed=0)
    assert words in str(raised.value) and "\n" not in str(raised.value)
