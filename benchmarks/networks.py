"""Networks of other projects' benchmarks, for the studies that follow them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def niid_bench(input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network of Li et al. 2022 (arXiv 2102.02079) and of Flower's baseline ``niid_bench`` for images.

    Two blocks of an unpadded 5x5 convolution, ReLU and 2x2 max-pooling with 6 and 16 channels, then hidden layers of
    120 and 84.

    Args:
        input_shape: channels, height and width of an image.
        num_classes: the number of outputs.
    """
    depth, height, width = input_shape
    left = 16 * ((height - 4) // 2 // 2 - 2) * ((width - 4) // 2 // 2 - 2)
    return nn.Sequential(
        nn.Conv2d(depth, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(left, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )
