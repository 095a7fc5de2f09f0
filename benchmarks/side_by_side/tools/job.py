"""The job that every tool does, and the report of its times. It needs PyTorch only.

100 nodes; a network of 62,006 parameters (LeNet-5 with ReLU and max-pooling) on images of 3 x 32 x 32; 250 random
images a node, hence 5 steps of 50 images in a local epoch; plain SGD. Arithmetic does not depend on the images.
"""

from __future__ import annotations

import json
import os
import platform
import time
from functools import cache
from importlib.metadata import version

import torch
from torch import Tensor, nn

NODES, STEPS, BATCH, CLASSES, LR = 100, 5, 50, 10, 0.01
IMAGES = STEPS * BATCH
"""Images of a node."""

ROUNDS = int(os.environ.get("ROUNDS", "8"))
"""Rounds that a tool computes."""


def network(input_shape: tuple[int, ...] = (3, 32, 32), num_classes: int = CLASSES) -> nn.Sequential:
    """Return the network of Li et al. 2022 (arXiv 2102.02079) and of Flower's baseline ``niid_bench`` for images."""
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * (height // 4 - 3) * (width // 4 - 3), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )


@cache
def images_of(node: int) -> tuple[Tensor, Tensor]:
    """Return a node's images ``[250, 3, 32, 32]`` and labels; the same at every call."""
    generator = torch.Generator().manual_seed(node)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    return torch.randn(IMAGES, 3, 32, 32, generator=generator), labels


def all_images() -> tuple[Tensor, Tensor]:
    """Return the images and labels of all nodes, one node after another."""
    inputs, labels = zip(*map(images_of, range(NODES)), strict=True)
    return torch.cat(inputs), torch.cat(labels)


def train(module: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Take the local steps of one node, in place; return the last loss."""
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    criterion = nn.CrossEntropyLoss()
    for batch in torch.randperm(len(labels)).split(BATCH):
        optimizer.zero_grad()
        loss = criterion(module(inputs[batch]), labels[batch])
        loss.backward()
        optimizer.step()
    return loss.item()


class Stopwatch:
    """Notes the time at which each round ends."""

    def __init__(self) -> None:
        """Note no round so far."""
        self.ends: list[float] = []

    def round_ended(self) -> None:
        """Note the end of a round."""
        self.ends.append(time.time())

    def report(self, package: str, method: str) -> None:
        """Print what the driver reads: versions, method and the ends of the rounds."""
        tool = version(package) if package else ""
        versions = {"tool": tool, "torch": torch.__version__, "python": platform.python_version()}
        print("\n" + json.dumps({"method": method, "versions": versions, "ends": self.ends}), flush=True)
