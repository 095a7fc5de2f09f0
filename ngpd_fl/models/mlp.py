"""Fully connected networks; softmax regression is the one without hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from ngpd_fl.config.sections import ModelConfig


def softmax(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return softmax regression."""
    return dense(input_shape, num_classes, ())


def mlp(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network with hidden layers of the widths ``config.hidden``."""
    return dense(input_shape, num_classes, config.hidden)


def dense(input_shape: Sequence[int], num_classes: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return Linear layers of the widths in ``hidden`` with ReLU between them, on flattened inputs."""
    widths = [prod(input_shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for width, next_width in pairwise(widths):
        layers += [nn.Linear(width, next_width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
