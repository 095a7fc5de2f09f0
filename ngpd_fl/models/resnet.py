"""Residual networks for small images: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016,
section 4.2, with GroupNorm in place of BatchNorm.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models.checks import require_images
from ngpd_fl.models.norm import group_norm

WIDTHS = (16, 32, 64)


def resnet8(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network of 8 layers."""
    return resnet(input_shape, num_classes, 8)


def resnet20(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network of 20 layers."""
    return resnet(input_shape, num_classes, 20)


def resnet32(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network of 32 layers."""
    return resnet(input_shape, num_classes, 32)


def resnet(input_shape: Sequence[int], num_classes: int, depth: int) -> nn.Sequential:
    """Return the network of ``depth`` = 6 n + 2 layers: a convolution, 3 stages of n blocks, and a linear layer.

    Stages have 16, 32 and 64 channels; the second and the third begin by halving the image.
    """
    blocks, rest = divmod(depth - 2, 6)
    if blocks < 1 or rest:
        raise ValueError(f"depth: should be 6 n + 2 with n >= 1 (got {depth})")
    require_images(f"resnet{depth}", input_shape)
    layers: list[nn.Module] = [_convolution(input_shape[0], WIDTHS[0]), group_norm(WIDTHS[0]), nn.ReLU()]
    for width, next_width in pairwise((WIDTHS[0], *WIDTHS)):
        layers.append(ResidualBlock(width, next_width))
        layers += [ResidualBlock(next_width, next_width) for _ in range(blocks - 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], num_classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Where the number of channels grows the image is halved, and the shortcut takes every second pixel and has zeros for
    the new channels: the paper's option A, without parameters.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        """Make a block from the number of channels before and after it."""
        super().__init__()
        self.stride = 1 if channels == out_channels else 2
        self.new_channels = out_channels - channels
        self.conv1 = _convolution(channels, out_channels, self.stride)
        self.norm1 = group_norm(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = group_norm(out_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``[B, out_channels, H', W']`` for ``[B, channels, H, W]``; H' is H, or its half rounded up."""
        hidden = self.norm1(self.conv1(inputs)).relu()
        residual: Tensor = self.norm2(self.conv2(hidden))
        return (residual + self._shortcut(inputs)).relu()

    def _shortcut(self, inputs: Tensor) -> Tensor:
        if self.stride == 1:
            return inputs
        before = self.new_channels // 2
        halved = inputs[:, :, :: self.stride, :: self.stride]
        return F.pad(halved, (0, 0, 0, 0, before, self.new_channels - before))


def _convolution(channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias, started as in He et al., "Delving deep into rectifiers", ICCV 2015."""
    layer = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
