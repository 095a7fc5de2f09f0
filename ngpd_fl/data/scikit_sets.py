"""The data sets that scikit-learn brings along: handwritten digits and diabetes; nothing to download.

Neither has a test split of its own: every fifth example is in it, whatever the seed or the version of any library.
"""

from __future__ import annotations

import numpy as np
import torch

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import column_statistics

TEST_EVERY = 5


def read_digits(config: DataConfig) -> RawDataset:
    """Return 1,797 images of 8x8 pixels in 10 classes, with values in [0, 1], not normalized further.

    Every fifth image of each class is a test image.
    """
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]  # [M, 1, 8, 8], 0 to 16
    labels = bunch.target.astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        is_test[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    test, train = torch.from_numpy(is_test), torch.from_numpy(~is_test)
    targets = torch.from_numpy(labels)
    return RawDataset(
        train=Split(images[train], targets[train]),
        test=Split(images[test], targets[test]),
        num_classes=10,
        white=16,
        mean=torch.zeros(1, dtype=torch.float64),
        std=torch.ones(1, dtype=torch.float64),
    )


def read_diabetes(config: DataConfig) -> RawDataset:
    """Return 10 measurements of 442 patients and, as target, the progression of the disease in a year (25 to 346).

    Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 32, 2004.
    """
    from sklearn.datasets import load_diabetes  # slow to import

    bunch = load_diabetes(scaled=False)
    inputs, targets = torch.from_numpy(bunch.data), torch.from_numpy(bunch.target)[:, None]
    is_test = torch.arange(len(targets)) % TEST_EVERY == TEST_EVERY - 1
    mean, std = column_statistics(inputs[~is_test])
    return RawDataset(
        train=Split(inputs[~is_test], targets[~is_test]),
        test=Split(inputs[is_test], targets[is_test]),
        num_classes=None,
        white=1,
        mean=mean,
        std=std,
    )
