"""Data sets bundled with scikit-learn: handwritten digits and diabetes. Nothing is downloaded.

Neither comes with a test split: every fifth example is in it.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import Classification, column_statistics
from ngpd_fl.data.validation import held_out_rows


def read_table(file: str, delimiter: str | None = None) -> NDArray[np.float64]:
    """Return a table of scikit-learn as ``load_digits`` does, without importing it, which takes a second."""
    package = find_spec("sklearn")
    assert package is not None and package.submodule_search_locations
    with gzip.open(Path(package.submodule_search_locations[0], "datasets", "data", file), "rt") as lines:
        return np.loadtxt(lines, delimiter=delimiter)


def read_digits(config: DataConfig) -> RawDataset:
    """Return 1,797 images of 8x8 pixels in 10 classes, with values in [0, 1], not normalized further.

    Every fifth image of each class is a test image.
    """
    table = read_table("digits.csv.gz", delimiter=",")  # [M, 64 + 1], the last column the labels
    images = torch.from_numpy(table[:, :-1].astype(np.uint8)).view(-1, 1, 8, 8)  # 0 to 16
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    is_test = held_out_rows(labels)
    return RawDataset(
        train=Split(images[~is_test], labels[~is_test]),
        test=Split(images[is_test], labels[is_test]),
        task=Classification(10),
        white=16,
        mean=torch.zeros(1, dtype=torch.float64),
        std=torch.ones(1, dtype=torch.float64),
    )


def read_diabetes(config: DataConfig) -> RawDataset:
    """Return 10 measurements of 442 patients and, as target, the progression of the disease in a year (25 to 346).

    Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 32, 2004.
    """
    inputs = torch.from_numpy(read_table("diabetes_data_raw.csv.gz"))
    targets = torch.from_numpy(read_table("diabetes_target.csv.gz"))[:, None]
    is_test = held_out_rows(targets)
    mean, std = column_statistics(inputs[~is_test])
    return RawDataset(
        train=Split(inputs[~is_test], targets[~is_test]),
        test=Split(inputs[is_test], targets[is_test]),
        task=None,
        white=1,
        mean=mean,
        std=std,
    )
