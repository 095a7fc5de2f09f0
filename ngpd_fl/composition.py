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
from ngpd_fl.data import Dataset, Regression, Split, label_counts, load_dataset, partition_labels, skew_features
from ngpd_fl.engines import DataFeed, check_topology, default_chunk_size, lr_scale
from ngpd_fl.models import FlatModel, Likelihood, SupervisedObjective, build_likelihood, build_model
from strategies import Strategy, make_strategy
from strategies.natural_gradient import NaturalGradientOptions
from topologies import Topology

Runner = TypeVar("Runner")

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""By their names in ``engine.dtype``."""


@dataclass(frozen=True, eq=False)
class Job:
    """Everything a run needs, ready to go.

    Attributes:
        config: what it was made from.
        topology: the graph and its schedule.
        dataset: the images.
        counts: each node's training images per class, ``[N, C]``; in regression per bin of the targets.
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

    @property
    def chunk_size(self) -> int | None:
        """Nodes computed at once: as configured, else what the engine chooses; None: all."""
        return self.config.engine.chunk_size or default_chunk_size(self.model.start())

    def start(self, runner: Callable[..., Runner], *, topology: Topology | None = None, **more: Any) -> Runner:
        """Return ``VectorisedEngine`` or ``Crew``, whichever is given, with its nodes at their common start.

        Args:
            runner: the class.
            topology: another graph than the run's, of at most N nodes.
            more: what else it takes, such as a crew's ``nodes``.
        """
        training = self.config.training
        return runner(
            self.strategy,
            topology or self.topology,
            self.feed,
            self.model.start(),
            local_steps=training.local_steps,
            seed=self.config.seed,
            message_loss=self.config.network.message_loss,
            lr_scale=partial(lr_scale, training),
            **{"chunk_size": self.chunk_size, **more},
        )


def compose(config: Config) -> Job:
    """Load the data, build graph, network and algorithm.

    Raises:
        InputError: something does not fit; one line says what.
    """
    device = pick_device(config)
    dtype = DTYPES[config.engine.dtype]
    topology = build_topology(config)
    check_topology(config.strategy, topology)
    dataset = load_dataset(config.data, config.seed)
    task, groups = dataset.task, dataset.train_groups
    if config.training.until_accuracy is not None and isinstance(task, Regression):
        raise InputError(
            f"training.until_accuracy: {config.data.dataset} has real-valued targets, which have no accuracy; unset it"
        )
    parts = partition_labels(groups, topology.num_nodes, config.partition, config.seed)
    input_shape = tuple(dataset.train.inputs.shape[1:])
    model = build_model(config.model, input_shape, task.num_outputs, config.seed, dtype)
    model.module.to(device)
    likelihood = build_likelihood(config.model, task.num_outputs, real_valued=isinstance(task, Regression))
    train = skew_features(
        dataset.train.placed(dtype, device),
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
        draw_shape=likelihood.draw_shape(task.num_outputs),
    )
    strategy = build_strategy(config, model, likelihood, input_shape)
    judged = dataset.split(config.evaluation.split).placed(dtype, device)
    counts = label_counts(groups, parts, task.num_groups)
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
