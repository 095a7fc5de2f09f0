"""scikit-learn's diabetes: 442 patients, 10 measurements each, a real-valued target, nothing to download."""

from __future__ import annotations

import torch

from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import column_statistics

TEST_EVERY = 5


def read_diabetes(config: DataConfig) -> RawDataset:
    """Return the measurements and, as target, the progression of the disease in a year (25 to 346).

    Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 32, 2004. The set has no test
    split of its own: every fifth patient is in it, whatever the seed.
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
