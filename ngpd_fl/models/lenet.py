"""A small convolutional network in the style of LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to
document recognition", Proceedings of the IEEE 86, 1998.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models.checks import require_images


def lenet(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return two blocks of 5x5 convolution, ReLU and 2x2 max-pooling, then one hidden layer.

    The convolutions have ``config.channels``; the hidden layer has the last width in ``config.hidden``, or 64. Padding
    keeps the size, so that images of 8x8 (digits) to 64x64 fit.
    """
    require_images("lenet", input_shape)
    depth, height, breadth = input_shape
    if min(height, breadth) < 4:
        raise InputError(f"model.name: lenet needs images of at least 4x4 (got {height}x{breadth})")
    first, second = config.channels
    width = config.hidden[-1] if config.hidden else 64
    return nn.Sequential(
        nn.Conv2d(depth, first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (breadth // 4), width),
        nn.ReLU(),
        nn.Linear(width, num_classes),
    )
