"""From a configuration to the parts of a run: the one place where they are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ngpd_fl.config import Config, InputError, build_topology
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Dataset, Split, label_counts, load_dataset, partition_labels, skew_features
from ngpd_fl.engines import DataFeed, check_topology, lr_scale
from ngpd_fl.models import FlatModel, Likelihood, SupervisedObjective, build_likelihood, build_model
from strategies import Strategy, make_strategy
from strategies.natural_gradient import NaturalGradientOptions
from topologies import Topology

Runner = TypeVar("Runner")

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, eq=False)
class Job:
    """Everything a run needs, ready to go.

    Attributes:
        config: what it was made from.
        topology: the graph and its schedule.
        dataset: the images.
        counts: each node's training images per class, ``[N, C]``.
        judged: the split that evaluation uses.
        model: the network; its parameters are the nodes' common start.
        strategy: the algorithm.
        feed: batches and draws of every node.
        device: where it is computed.
    """

    config: Config
    topology: Topology
    dataset: Dataset
    counts: NDArray[np.int64]
    judged: Split
    model: FlatModel
    strategy: Strategy
    feed: DataFeed
    device: torch.device

    def start(self, runner: Callable[..., Runner], **more: Any) -> Runner:
        """Return ``VectorisedEngine`` or ``Crew``, whichever is given, with its nodes at their common start.

        Args:
            runner: the class.
            more: what else it takes, such as a crew's ``nodes``.
        """
        training = self.config.training
        return runner(
            self.strategy,
            self.topology,
            self.feed,
            self.model.start(),
            local_steps=training.local_steps,
            seed=self.config.seed,
            message_loss=self.config.network.message_loss,
            lr_scale=partial(lr_scale, training.lr_schedule, total_steps=training.rounds * training.local_steps),
            chunk_size=self.config.engine.chunk_size,
            **more,
        )


def compose(config: Config) -> Job:
    """Load the data, build graph, network and algorithm.

    Raises:
        InputError: something does not fit; one line says what.
    """
    device = pick_device(config)
    dtype = _DTYPES[config.engine.dtype]
    topology = build_topology(config)
    check_topology(config.strategy, topology)
    dataset = load_dataset(config.data, config.seed)
    parts = partition_labels(dataset.train.labels.numpy(), topology.num_nodes, config.partition, config.seed)
    input_shape = tuple(dataset.train.inputs.shape[1:])
    model = build_model(config.model, input_shape, dataset.num_classes, config.seed, dtype)
    model.module.to(device)
    likelihood = build_likelihood(config.model, dataset.num_classes)
    train = skew_features(
        _placed(dataset.train, dtype, device),
        parts,
        rotation=config.data.rotation,
        noise=config.data.noise,
        seed=config.seed,
    )
    feed = DataFeed(
        train,
        parts,
        config.data.batch_size,
        config.seed,
        crop=config.data.crop,
        flip=config.data.flip,
        draw_shape=likelihood.draw_shape(dataset.num_classes),
    )
    strategy = build_strategy(config, model, likelihood, input_shape)
    judged = _placed(dataset.test if config.evaluation.split == "test" else dataset.validation, dtype, device)
    counts = label_counts(dataset.train.labels.numpy(), parts, dataset.num_classes)
    return Job(config, topology, dataset, counts, judged, model, strategy, feed, device)


def build_strategy(config: Config, model: FlatModel, likelihood: Likelihood, input_shape: tuple[int, ...]) -> Strategy:
    """Return the algorithm on the network's loss, -log p of the likelihood."""
    decay = config.training.weight_decay
    if isinstance(config.strategy, NaturalGradientOptions):
        return make_strategy(config.strategy, KFAC(model, likelihood, input_shape, config.strategy, decay))
    return make_strategy(config.strategy, SupervisedObjective(model, likelihood, decay))


def pick_device(config: Config) -> torch.device:
    """Return the device that ``engine.device`` names; raise ``InputError`` where there is no such GPU."""
    wanted = config.engine.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("engine.device: cuda is not available here; allowed: auto, cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _placed(split: Split, dtype: torch.dtype, device: torch.device) -> Split:
    return Split(split.inputs.to(device, dtype), split.labels.to(device))
