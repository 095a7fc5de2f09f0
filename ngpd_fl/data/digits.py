"""scikit-learn's handwritten digits: 1,797 images of 8x8 pixels, 10 classes, nothing to download."""

from __future__ import annotations

import numpy as np
import torch

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split

TEST_EVERY = 5


def read_digits(config: DataConfig) -> RawDataset:
    """Return the digits with values in [0, 1], not normalized further.

    The set has no test split of its own: every fifth image of each class is one, whatever the seed or the version of
    any library.
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
