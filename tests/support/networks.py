"""Tiny supervised problems with real networks in float64: what the conformance suite runs K-FAC on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ngpd_fl.config import ModelConfig
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.curvature import KFAC
from ngpd_fl.models import Categorical, FlatModel, SupervisedObjective
from ngpd_fl.models.build import build_model
from strategies import Phase, StrategyOptions, make_strategy

INPUT_SHAPE = (1, 4, 4)
CLASSES = 3
BATCH = 6


@dataclass(frozen=True)
class NetworkProblem:
    """A network, and random minibatches whose mean differs from node to node, keyed by (node, step)."""

    model: FlatModel

    def minibatches(self, nodes: Tensor, steps: Sequence[int], phase: Phase) -> tuple[Any, Tensor]:
        return default_collate([self._of_node(node, step) for node, step in zip(nodes.tolist(), steps, strict=True)])

    def _of_node(self, node: int, step: int) -> tuple[Any, Tensor]:
        random = generator(0, Purpose.BATCH, node, step)
        inputs = torch.tensor(random.normal(loc=0.2 * node, size=(BATCH, *INPUT_SHAPE)))
        labels = torch.tensor(random.integers(CLASSES, size=BATCH))
        uniform = torch.tensor(generator(0, Purpose.LABELS, node, step).random(BATCH))
        return (inputs, labels), uniform

    def strategy(self, options: StrategyOptions) -> Any:
        if options.second_order:
            return make_strategy(options, KFAC(self.model, Categorical(), INPUT_SHAPE, options))  # type: ignore[arg-type]
        return make_strategy(options, SupervisedObjective(self.model, Categorical()))


def perceptron() -> NetworkProblem:
    """A multilayer perceptron with one hidden layer."""
    config = ModelConfig(name="mlp", hidden=(4,))
    return NetworkProblem(build_model(config, INPUT_SHAPE, CLASSES, seed=0, dtype=torch.float64))


def convolutional() -> NetworkProblem:
    """A convolution, a group normalization and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, CLASSES)
        )
    return NetworkProblem(FlatModel(module.double()))
