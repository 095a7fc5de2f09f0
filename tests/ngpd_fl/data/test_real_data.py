"""The real MNIST and CIFAR-10, where the environment variable NGPD_FL_DATA_DIR names the folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import load_dataset

ROOT = os.environ.get("NGPD_FL_DATA_DIR")


@pytest.mark.skipif(not ROOT or not (Path(ROOT) / "MNIST" / "raw").is_dir(), reason="no MNIST in NGPD_FL_DATA_DIR")
def test_mnist_is_normalized() -> None:
    data = load_dataset(DataConfig(dataset="mnist", data_dir=Path(str(ROOT)), validation_fraction=0.1), seed=0)
    assert (len(data.train), len(data.validation), len(data.test)) == (54000, 6000, 10000)
    assert abs(float(data.train.inputs.mean())) < 0.01 and abs(float(data.train.inputs.std()) - 1) < 0.01


@pytest.mark.slow
@pytest.mark.skipif(not ROOT or not (Path(ROOT) / "cifar10").is_dir(), reason="no cifar10 in NGPD_FL_DATA_DIR")
def test_cifar10_is_normalized() -> None:
    config = DataConfig(dataset="image-folder", data_dir=Path(str(ROOT)) / "cifar10", validation_fraction=0.1)
    data = load_dataset(config, seed=0)
    assert data.train.inputs.shape == (45000, 3, 32, 32) and len(data.test) == 10000 and data.task.num_outputs == 10
    assert float(data.train.inputs.mean((0, 2, 3)).abs().max()) < 0.01
