"""This project's data and network. Put your own in their place; the names in config.toml and study.toml lead here."""

import math

import torch
from torch import Tensor, nn


def spirals() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 900 training and 300 test examples: points on three spiral arms, to be told apart.

    Returns:
        Inputs ``[M, 2]`` and classes ``[M]`` for training, then for testing. All nodes see the same data set, of which
        the partition gives each its part, so it must come out the same each time: random draws need a fixed seed.
    """
    draws = torch.Generator().manual_seed(0)
    classes = torch.arange(1200) % 3
    radius = 0.2 + torch.rand(1200, generator=draws)
    angle = 2 * radius + classes * (2 * math.pi / 3) + 0.1 * torch.randn(1200, generator=draws)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return points[:900], classes[:900], points[900:], classes[900:]


def network(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return the network that every node trains.

    Args:
        input_shape: shape of one example, here ``(2,)``.
        num_classes: number of outputs, one for each class.
    """
    (width,) = input_shape
    return nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, num_classes))
