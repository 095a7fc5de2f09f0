"""Factories of a run's engine and virtual clock. The engines themselves are in ``ngpd_fl.engines``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ngpd_fl.clock import Replay, Timeline, Usage, VirtualClock, make_timeline
from ngpd_fl.config import InputError
from ngpd_fl.config.checks import SERVER_BASELINES
from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.mixing import preconditioner_bytes
from ngpd_fl.devices import DeviceConditions, DeviceCosts
from ngpd_fl.engines import (
    BaselineEngine,
    DataMinibatches,
    Engine,
    EventEngine,
    SynchronousEngine,
    all_reduce_bytes,
    fedavg_bytes,
    message_bytes,
    weighted_mean,
    weighted_preconditioned_mean,
)
from ngpd_fl.faults import FaultyConditions, Tampering
from ngpd_fl.training.job import Job


def make_clock(job: Job) -> VirtualClock | None:
    """Return the run's clock, at its beginning; None if it has none.

    Raises:
        InputError: the log in ``devices.replay`` cannot be replayed here.
    """
    config, topology, training = job.config, job.topology, job.config.training
    if not config.has_clock:
        return None
    costs = DeviceCosts(job.devices, topology, config, sum(message_bytes(job.strategy, job.model.start()).values()))
    events: Timeline | Replay
    if config.devices.replay is not None:
        events = Replay(config.devices.replay, topology.num_nodes, len(topology.edges))
    else:
        devices = DeviceConditions(job.devices, topology, config.network.message_loss, config.seed)
        conditions = FaultyConditions(devices, config.faults, topology, config.seed)
        events = make_timeline(training.mode, topology, training.rounds, costs, conditions, training.timeout_seconds)
    return VirtualClock(events, Usage(topology.num_nodes, costs, training.mode))


def make_engine(job: Job, clock: VirtualClock | None) -> Engine:
    """Return the engine of the whole network, which follows the clock if there is one.

    Raises:
        InputError: there are several devices, which events cannot be divided among.
    """
    if job.config.training.baseline is not None:
        return _make_baseline(job)
    if clock is None:
        return SynchronousEngine(job.engine_settings)
    if len(job.compute_devices) > 1:
        raise InputError(f"engine.device: a run with a virtual clock takes one device (got {job.config.engine.device})")
    faults, tampering = job.config.faults, None
    if faults.corrupt or faults.byzantine:
        tampering = Tampering(faults, job.config.seed, job.strategy.options.needs.per_edge)
    return EventEngine(job.engine_settings, clock, tampering)


def _make_baseline(job: Job) -> BaselineEngine:
    """Return the engine that ``training.baseline`` names."""
    settings, training, num_nodes = job.engine_settings, job.config.training, job.config.topology.nodes
    start = settings.start
    steps = training.local_steps
    if training.baseline in SERVER_BASELINES:
        assert isinstance(job.minibatches, DataMinibatches)  # all others have one model
        sizes = job.minibatches.sizes
        shares = torch.as_tensor(sizes / sizes.sum(), dtype=start.dtype, device=start.device)
        average, more = weighted_mean(shares), 0
        if training.baseline == "fedpm":
            assert isinstance(job.objective, KFAC)
            average, more = (
                weighted_preconditioned_mean(job.objective, shares),
                preconditioner_bytes(job.objective, start),
            )
        sent = fedavg_bytes(num_nodes, start.nbytes, more)
        return BaselineEngine(settings, num_nodes * steps, lambda round: sent, average)
    if training.baseline == "single-node":
        return BaselineEngine(settings, steps, lambda round: 0)
    factors = _factor_bytes(job, start)

    def bytes_of(round: int) -> int:
        """Return the bytes of the gradients and, with K-FAC, of the factors of the steps that refresh them."""
        phases = [job.strategy.phase(step) for step in range(round * steps, (round + 1) * steps)]
        vectors = steps * start.nbytes + sum(phase.refresh_factors for phase in phases) * factors
        return all_reduce_bytes(num_nodes, vectors)

    return BaselineEngine(settings, num_nodes * steps, bytes_of)


def _factor_bytes(job: Job, start: Tensor) -> int:
    """Return the bytes of one node's Kronecker factors; 0 if the strategy has none."""
    curvature = getattr(job.strategy, "curvature", None)
    if not isinstance(curvature, KFAC):
        return 0
    blocks = curvature.init(start).blocks.values()
    return sum(leaf.nbytes for block in blocks for leaf in tree_leaves(block.averages))
