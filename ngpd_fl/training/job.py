"""A job: the parts of a run, built from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import inf

import networkx as nx
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config import Config, InputError, build_topology
from ngpd_fl.config.checks import SERVER_BASELINES, check_objects
from ngpd_fl.core.machine import cores
from ngpd_fl.core.workers import Workers
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Dataset, Regression, Split, divide, label_skew, neighborhood_skew, skew_features
from ngpd_fl.devices import Device, draw_devices
from ngpd_fl.engines import DataMinibatches, EngineSettings, PooledMinibatches, check_topology
from ngpd_fl.evaluation import evaluate
from ngpd_fl.faults import check_faults
from ngpd_fl.models import (
    DTYPES,
    FlatModel,
    Likelihood,
    SupervisedObjective,
    build_likelihood,
    build_model,
    load_starts,
    pick_devices,
)
from ngpd_fl.records import Evaluation
from ngpd_fl.training.lr_schedule import lr_scale
from strategies import Strategy, make_strategy
from strategies.parts.natural_gradient import NaturalGradientOptions
from topologies import Topology

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """The parts of a run.

    Attributes:
        config: the whole run.
        topology: the graph and its schedule.
        dataset: the data set.
        counts: each node's training examples per class, ``[N, C]``; in regression per bin of the targets. 0 for nodes
            whose data lie elsewhere.
        evaluated: the examples for evaluation: one split for all nodes' models, or one per node by the node's index.
        origin: as in ``Partition``.
        fingerprint: of the partition.
        model: the network; its parameters are the nodes' common start.
        own_starts: each node's own start ``[N, P]``; None if all start alike.
        objective: the function that the algorithm minimizes, with its curvature for a second-order algorithm.
        strategy: the algorithm.
        minibatches: batches and draws of every node.
        compute_devices: the torch devices that compute; the network and the data lie on the first.
        devices: the nodes' devices for the virtual clock; empty if the run has no clock.
        workers: compute nodes side by side.
    """

    config: Config
    topology: Topology
    dataset: Dataset
    counts: NDArray[np.int64]
    evaluated: Split | Mapping[int, Split]
    origin: str
    fingerprint: str
    model: FlatModel
    objective: SupervisedObjective | KFAC
    strategy: Strategy
    minibatches: DataMinibatches | PooledMinibatches
    compute_devices: tuple[torch.device, ...]
    devices: Sequence[Device] = ()
    own_starts: Tensor | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def chunk_size(self) -> int | None:
        """Nodes computed at once; None for all."""
        return self.engine_settings.nodes_at_once

    @property
    def engine_settings(self) -> EngineSettings:
        """The settings of the run for an engine."""
        training = self.config.training
        return EngineSettings(
            self.strategy,
            self.topology,
            self.minibatches,
            self.model.start(),
            local_steps=training.local_steps,
            rounds=training.rounds,
            seed=self.config.seed,
            message_loss=self.config.network.message_loss,
            lr_scale=partial(lr_scale, training),
            own_starts=self.own_starts,
            chunk_size=self.config.engine.chunk_size,
            one_by_one=loss_of(self.objective).dense_layers is None,
            workers=self.workers,
            compute_devices=self.compute_devices,
        )

    @property
    def skew(self) -> dict[str, float]:
        """Measures, by name, of the differences between the nodes' labels, and of their position on the graph."""
        of_nodes = asdict(label_skew(self.counts))
        return (
            of_nodes | asdict(neighborhood_skew(self.counts, self.topology))
            if self.topology.num_nodes > 1
            else of_nodes
        )

    @property
    def evaluated_on(self) -> str:
        """Whether models are evaluated on ``"common"`` examples or each on its node's ``"own"``."""
        return "common" if isinstance(self.evaluated, Split) else "own"

    def take_retries(self) -> dict[str, dict[str, int]]:
        """Return the decompositions of curvature that failed at first since the last call; see ``Retries.take``."""
        return self.objective.retries.take() if isinstance(self.objective, KFAC) else {}

    def evaluate(self, params: Tensor, nodes: Sequence[int] | None = None, *, average: bool = True) -> Evaluation:
        """Evaluate the parameters ``[n, P]`` of nodes and, if ``average``, their mean. Defaults to all nodes."""
        nodes = range(self.topology.num_nodes) if nodes is None else nodes
        evaluated = self.evaluated if isinstance(self.evaluated, Split) else [self.evaluated[node] for node in nodes]
        return evaluate(
            self.model,
            params,
            evaluated,
            self.counts[nodes],
            self.dataset.task,
            average=average,
            workers=self.workers,
            compute_devices=self.compute_devices,
        )


def compose(config: Config, hosted: Sequence[int] | None = None) -> Job:
    """Load the data, build graph, network and algorithm.

    Args:
        config: the whole run.
        hosted: the nodes of this process. Defaults to all nodes. If data lie at their nodes, only theirs are read.

    Raises:
        InputError: parts do not fit together; one line names the problem.
    """
    check_objects(config.data, config.model)
    compute_devices = pick_devices(config)
    device, dtype = compute_devices[0], DTYPES[config.engine.dtype]
    num_nodes = config.num_models if hosted is None else len(hosted)
    if len(compute_devices) > num_nodes:
        raise InputError(
            f"engine.device: {config.engine.device} are more devices than nodes; name at most {num_nodes} "
            f"({config.method if hosted is None else 'this process'} computes that many models)"
        )
    topology = build_topology(config)
    check_topology(config.strategy, topology)
    check_faults(config.faults, topology)
    if topology.is_directed and config.has_clock:
        raise InputError(f"topology.name: {config.topology.name} does not go by the virtual clock; unset what needs it")
    devices = draw_devices(config.devices, topology.num_nodes, config.seed) if config.has_clock else ()
    if config.strategy.needs.reliable and any(device.online_s < inf for device in devices):
        raise InputError(f"devices: {config.strategy.title} needs every message; unset online_s of all devices")
    division = divide(config, hosted)
    dataset, parts, task = division.dataset, division.parts, division.dataset.task
    if config.training.until_accuracy is not None and isinstance(task, Regression):
        raise InputError(
            f"training.until_accuracy: {config.data.dataset} has real-valued targets, which have no accuracy; unset it"
        )
    input_shape = tuple(dataset.train.inputs.shape[1:])
    model = build_model(
        config.model,
        input_shape,
        task.num_outputs,
        config.seed,
        dtype,
        dataset.example_inputs,
        positions=task.positions,
        fields=dataset.fields,
    )
    own_starts = None
    if config.model.init_per_node:
        assert config.model.init is not None
        own_starts = load_starts(model, config.model.init, config.topology.nodes).to(device)
    model.module.to(device)
    if device.type != "cpu" and not model.batches_nodes:
        logger.warning("model: torch.func.vmap cannot batch it over nodes; they are computed one after another")
    likelihood = build_likelihood(config.model, task)
    train = skew_features(
        dataset.train.placed(dtype, device),
        parts,
        rotation=config.data.rotation,
        noise=config.data.noise,
        seed=config.seed,
    )
    minibatches = DataMinibatches(
        train,
        parts,
        config.data.batch_size,
        config.seed,
        crop=config.data.crop,
        flip=config.data.flip,
        draw_shape=likelihood.draw_shape(task.num_outputs),
        dtype=dtype,
        dropout=model.is_random,
    )
    examples = dataset.example_inputs.to(device, dtype if dataset.example_inputs.is_floating_point() else None)
    objective = build_objective(config, model, likelihood, input_shape, examples)
    evaluated: Split | dict[int, Split]
    if isinstance(division.evaluated, Split):
        evaluated = division.evaluated.placed(dtype, device)
    else:
        evaluated = {node: split.placed(dtype, device) for node, split in division.evaluated.items()}
    counts, origin = division.counts, division.origin
    strategy = build_strategy(config, objective)
    job = Job(
        config,
        topology,
        dataset,
        counts,
        evaluated,
        origin,
        division.fingerprint,
        model,
        objective,
        strategy,
        minibatches,
        compute_devices,
        devices,
        own_starts,
        make_workers(config, compute_devices),
    )
    return _with_one_model(job, minibatches) if config.num_models == 1 else job


def _with_one_model(job: Job, minibatches: DataMinibatches) -> Job:
    """Return the run of the one model that an all-reduce or a node with all data trains."""
    if job.evaluated_on == "own":
        raise InputError(
            f"training.baseline: {job.config.training.baseline} trains one model, but {job.config.data.dataset} has "
            f"test data of each node; allowed: {', '.join(SERVER_BASELINES)}"
        )
    pooled = (
        minibatches.of_one_node()
        if job.config.training.baseline == "single-node"
        else PooledMinibatches(minibatches, len(job.counts))
    )
    counts = job.counts.sum(axis=0, keepdims=True)
    return replace(job, topology=Topology([nx.empty_graph(1)]), counts=counts, minibatches=pooled)


def build_objective(
    config: Config,
    model: FlatModel,
    likelihood: Likelihood,
    input_shape: tuple[int, ...],
    examples: Tensor | None = None,
) -> SupervisedObjective | KFAC:
    """Return the network's loss, -log p of the likelihood, with its curvature if the algorithm uses it.

    Some ``examples [M, ...]`` of the inputs tell K-FAC how the network uses its layers.
    """
    decay, options = config.training.weight_decay, config.strategy
    if isinstance(options, NaturalGradientOptions):
        return KFAC(model, likelihood, input_shape, options, decay, examples)
    return SupervisedObjective(model, likelihood, decay)


def loss_of(objective: SupervisedObjective | KFAC) -> SupervisedObjective:
    """Return the loss without its curvature."""
    return objective.objective if isinstance(objective, KFAC) else objective


def make_workers(config: Config, compute_devices: Sequence[torch.device]) -> Workers:
    """Return the workers of a run: one for each GPU, which gives it work for all of its nodes at once."""
    if compute_devices[0].type != "cpu":
        return Workers(len(compute_devices))
    count = config.engine.workers
    return Workers(cores() if count == "auto" else count)


def build_strategy(config: Config, objective: SupervisedObjective | KFAC) -> Strategy:
    """Return the algorithm that minimizes ``objective``."""
    return make_strategy(config.strategy.for_mode(config.training.mode), objective)
