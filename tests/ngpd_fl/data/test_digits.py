from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import load_dataset
from ngpd_fl.data.scikit_sets import read_digits, read_table


def test_values_are_scikit_learns_divided_by_16() -> None:
    data = load_dataset(DataConfig(validation_fraction=0), seed=0)
    ours = torch.cat([data.train.inputs, data.test.inputs])
    assert ours.shape == (1797, 1, 8, 8) and ours.dtype == torch.float32 and data.task.num_outputs == 10
    images = load_digits().images / 16
    assert torch.isclose(ours.sum(), torch.tensor(images.sum(), dtype=torch.float32), rtol=1e-5)
    assert ours.min() == 0 and ours.max() == 1
    # The first image is one of the training split and carries its own label.
    np.testing.assert_array_equal(data.train.inputs[0, 0].numpy(), images[0].astype(np.float32))
    assert data.train.labels[0] == load_digits().target[0]


def test_train_and_test_have_no_image_in_common_and_leave_none_out() -> None:
    raw = read_digits(DataConfig())
    images = torch.cat([raw.train.inputs, raw.test.inputs]).flatten(1)
    assert len(torch.unique(images, dim=0)) == 1797  # all of scikit-learn's digits differ


def test_test_split_is_stratified_and_the_same_for_every_seed() -> None:
    one, other = (load_dataset(DataConfig(), seed).test for seed in (0, 1))
    assert torch.equal(one.inputs, other.inputs) and torch.equal(one.labels, other.labels)
    share = torch.bincount(one.labels) / torch.from_numpy(np.bincount(load_digits().target))
    assert torch.all((share - 0.2).abs() < 0.005)


def test_validation_depends_on_the_seed_and_is_apart_from_train() -> None:
    splits = [load_dataset(DataConfig(validation_fraction=0.25), seed) for seed in (0, 0, 1)]
    assert torch.equal(splits[0].validation.inputs, splits[1].validation.inputs)
    assert not torch.equal(splits[0].validation.inputs, splits[2].validation.inputs)
    data = splits[0]
    assert len(data.validation) == round(0.25 * 1442) and len(data.train) + len(data.validation) == 1442
    assert len(torch.unique(torch.cat([data.train.inputs, data.validation.inputs]).flatten(1), dim=0)) == 1442


def test_tables_are_those_of_scikit_learn() -> None:
    """They are read without importing it, from where it keeps them."""
    digits, diabetes = load_digits(), load_diabetes(scaled=False)
    np.testing.assert_array_equal(read_table("digits.csv.gz", ",")[:, :-1], digits.data)
    np.testing.assert_array_equal(read_table("digits.csv.gz", ",")[:, -1], digits.target)
    np.testing.assert_array_equal(read_table("diabetes_data_raw.csv.gz"), diabetes.data)
    np.testing.assert_array_equal(read_table("diabetes_target.csv.gz"), diabetes.target)
