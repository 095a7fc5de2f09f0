"""Small networks with every kind of layer, and data for them; named by import path in configurations.

A network is a function ``(input_shape, num_classes) -> nn.Module``; ``NETWORKS`` says which data it takes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision.models import DenseNet, MobileNetV2, ResNet, ShuffleNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck

TOKENS, TIME, CLASSES = 7, 5, 3


def images() -> tuple[Tensor, ...]:
    """Return images ``[M, 2, 8, 8]`` whose mean depends on their class."""
    return _split(lambda labels: torch.randn(len(labels), 2, 8, 8) + labels[:, None, None, None])


def series() -> tuple[Tensor, ...]:
    """Return series ``[M, 2, 12]``."""
    return _split(lambda labels: torch.randn(len(labels), 2, 12) + labels[:, None, None])


def volumes() -> tuple[Tensor, ...]:
    """Return volumes ``[M, 2, 4, 4, 4]``."""
    return _split(lambda labels: torch.randn(len(labels), 2, 4, 4, 4) + labels[:, None, None, None, None])


def tokens() -> tuple[Tensor, ...]:
    """Return tokens ``[M, TIME]`` as numbers; token 0 is padding."""
    return _split(lambda labels: ((torch.randint(3, (len(labels), TIME)) + 2 * labels[:, None]) % TOKENS).float())


def _split(inputs: Any) -> tuple[Tensor, ...]:
    train, test = torch.arange(60) % CLASSES, torch.arange(12) % CLASSES
    return inputs(train), train, inputs(test), test


class Net(nn.Module):
    """A network made of parts and a forward pass."""

    def __init__(self, run: Any, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.run(self, inputs)
        return outputs


def conv1d(shape: Any, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2, padding=1, padding_mode="circular"), nn.InstanceNorm1d(4, affine=True), nn.ReLU(),
        nn.Conv1d(4, 4, 3, groups=2, padding="same", dilation=2), nn.Flatten(), nn.Linear(24, classes),
    )  # fmt: skip


def conv3d(shape: Any, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(2, 4, 2, groups=2), nn.GroupNorm(2, 4), nn.PReLU(4), nn.Conv3d(4, 2, 2), nn.Flatten(),
        nn.Linear(16, classes),
    )  # fmt: skip


def padding_modes(shape: Any, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh(),
        nn.Conv2d(3, 3, 3, padding=1, stride=2, padding_mode="replicate"), nn.LayerNorm((4, 4)), nn.Flatten(),
        nn.Linear(48, classes, bias=False),
    )  # fmt: skip


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False), nn.GroupNorm(2, hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False), nn.GroupNorm(2, hidden), nn.ReLU6(),
            nn.Conv2d(hidden, width, 1, bias=False), nn.GroupNorm(2, width),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = inputs + self.body(inputs)
        return outputs


def depthwise(shape: Any, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), InvertedResidual(4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, classes),
    )  # fmt: skip


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a skip connection."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up, self.last = nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2), nn.Conv2d(7, 2, 1)
        self.head = nn.Linear(2, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        skip = torch.tanh(self.first(inputs))
        outputs: Tensor = self.head(self.last(torch.cat([skip, self.up(torch.relu(self.down(skip)))], 1)).mean((2, 3)))
        return outputs


def unet(shape: Any, classes: int) -> nn.Module:
    return UNet(classes)


def upsampling(shape: Any, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), nn.PReLU(), nn.Flatten(),
        nn.Linear(72, classes),
    )  # fmt: skip


def embedding(shape: Any, classes: int) -> nn.Module:
    return Net(
        lambda net, x: net.head(torch.tanh(net.embed(x.long())).flatten(1)),
        embed=nn.Embedding(TOKENS, 4, padding_idx=0), head=nn.Linear(4 * TIME, classes),
    )  # fmt: skip


def recurrent(shape: Any, classes: int) -> nn.Module:
    def run(net: Net, x: Tensor) -> Tensor:
        values, state = net.embed(x.long()), torch.zeros(len(x), 4, dtype=net.embed.weight.dtype, device=x.device)
        for time in range(TIME):
            state = torch.tanh(net.input(values[:, time]) + net.hidden(state))
        return net.head(state)

    return Net(
        run, embed=nn.Embedding(TOKENS, 3), input=nn.Linear(3, 4), hidden=nn.Linear(4, 4, bias=False),
        head=nn.Linear(4, classes),
    )  # fmt: skip


class Attention(nn.Module):
    """Causal self-attention of two heads, followed by a perceptron, both with a normalization before."""

    def __init__(self, width: int, norm: type[nn.Module], *, causal: bool) -> None:
        super().__init__()
        self.one, self.two = norm(width), norm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.causal = causal

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = self.qkv(self.one(values)).unflatten(-1, (3, 2, -1)).movedim(2, 0).transpose(2, 3)
        scores = query @ key.mT / key.shape[-1] ** 0.5
        if self.causal:
            scores = scores + torch.full_like(scores[0, 0], -1e9).triu(1)
        mixed = scores.softmax(-1) @ value
        values = values + self.project(mixed.transpose(1, 2).flatten(2))
        outputs: Tensor = values + self.down(F.gelu(self.up(self.two(values))))
        return outputs


class GPT(nn.Module):
    """Two blocks, a table of positions, and an output layer that is the embedding's."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(TOKENS, 4), nn.Parameter(torch.zeros(TIME, 4))
        self.blocks = nn.Sequential(*(Attention(4, nn.LayerNorm, causal=True) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, TOKENS, bias=False)
        self.head.weight = self.embed.weight
        self.classes = classes

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.blocks(self.embed(inputs.long()) + self.positions)
        outputs: Tensor = self.head(self.norm(values))[:, -1, : self.classes]
        return outputs


def gpt(shape: Any, classes: int) -> nn.Module:
    return GPT(classes)


class ViT(nn.Module):
    """Patches by a convolution, a class token, a table of positions, and a block with RMSNorm."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 4, 4, stride=4)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 4)), nn.Parameter(torch.zeros(5, 4))
        self.block, self.head = Attention(4, nn.RMSNorm, causal=False), nn.Linear(4, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        patches = self.patches(inputs).flatten(2).mT
        values = torch.cat([self.token.expand(len(inputs), -1, -1), patches], 1) + self.positions
        outputs: Tensor = self.head(self.block(values)[:, 0])
        return outputs


def vit(shape: Any, classes: int) -> nn.Module:
    return ViT(classes)


def time_first(shape: Any, classes: int) -> nn.Module:
    return Net(
        lambda net, x: net.head(torch.tanh(net.body(net.embed(x.long().t()))).mean(0)),
        embed=nn.Embedding(TOKENS, 4), body=nn.Linear(4, 4), head=nn.Linear(4, classes),
    )  # fmt: skip


def used_twice(shape: Any, classes: int) -> nn.Module:
    layer, norm = nn.Linear(4, 4), nn.LayerNorm(4)
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 4), layer, norm, nn.Tanh(), layer, norm, nn.Linear(4, classes))


def unused(shape: Any, classes: int) -> nn.Module:
    return Net(
        lambda net, x: net.head(x.flatten(1)), head=nn.Linear(24, classes), idle=nn.Linear(3, 3),
        spare=nn.Parameter(torch.ones(2)),
    )  # fmt: skip


def scaled(shape: Any, classes: int) -> nn.Module:
    """A learned scale, and a layer whose weight is computed from two parameters."""
    return Net(
        lambda net, x: net.head(torch.tanh(net.body(x.flatten(1))) * net.scale),
        body=parametrizations.weight_norm(nn.Linear(24, 4)), scale=nn.Parameter(torch.ones(())),
        head=nn.Linear(4, classes),
    )  # fmt: skip


def branching(shape: Any, classes: int) -> nn.Module:
    """A network whose forward pass depends on numbers, which vmap cannot batch."""

    def run(net: Net, x: Tensor) -> Tensor:
        values = net.conv(x)
        return net.head(torch.tanh(values if values.sum() > -1e9 else -values).mean(2))

    return Net(run, conv=nn.Conv1d(2, 4, 3), head=nn.Linear(4, classes))


def bag(shape: Any, classes: int) -> nn.Module:
    return Net(lambda net, x: net.head(net.bag(x.long())), bag=nn.EmbeddingBag(TOKENS, 4), head=nn.Linear(4, classes))


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels, eps=0.1)  # few elements: without it, rounding grows


def _with_channels(net: nn.Module, channels: int) -> nn.Module:
    """Return the network with another number of channels in its first convolution."""
    name, first = next((name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d))
    changed = nn.Conv2d(channels, first.out_channels, 3, padding=1, bias=False)
    parent, _, key = name.rpartition(".")
    setattr(net.get_submodule(parent), key, changed)
    return net


def mobilenet(shape: Any, classes: int) -> nn.Module:
    settings = [[1, 8, 1, 1], [2, 8, 1, 2]]
    net = MobileNetV2(classes, 0.25, settings, norm_layer=_norm, dropout=0.0)
    return _with_channels(net, shape[0])


def resnet(shape: Any, classes: int) -> nn.Module:
    net = ResNet(BasicBlock, [1, 1, 1, 1], classes, width_per_group=64, norm_layer=_norm)
    small = nn.Sequential(_with_channels(net, shape[0]).conv1, net.bn1, net.relu, net.layer1, net.avgpool, nn.Flatten())
    return nn.Sequential(small, nn.Linear(64, classes))


def resnext(shape: Any, classes: int) -> nn.Module:
    block = Bottleneck(8, 4, groups=2, base_width=32, norm_layer=_norm, downsample=nn.Conv2d(8, 16, 1))
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)
    )


def densenet(shape: Any, classes: int) -> nn.Module:
    net = DenseNet(4, (1, 1), 4, bn_size=1, num_classes=classes)
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            parent, _, key = name.rpartition(".")
            setattr(net.get_submodule(parent), key, _norm(part.num_features))
    return _with_channels(net, shape[0])


def shufflenet(shape: Any, classes: int) -> nn.Module:
    net = ShuffleNetV2([1, 1, 1], [4, 8, 8, 8, 8], classes)
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            parent, _, key = name.rpartition(".")
            setattr(net.get_submodule(parent), key, _norm(part.num_features))
    return _with_channels(net, shape[0])


NETWORKS = {
    "conv1d": "series", "conv3d": "volumes", "padding_modes": "images", "depthwise": "images", "unet": "images",
    "upsampling": "series", "embedding": "tokens", "recurrent": "tokens", "gpt": "tokens", "vit": "images",
    "time_first": "tokens", "used_twice": "series", "unused": "series", "scaled": "series", "branching": "series",
    "bag": "tokens",
}  # fmt: skip
TORCHVISION = {name: "images" for name in ("mobilenet", "resnet", "resnext", "densenet", "shufflenet")}
