"""The engine of a run and, if it has one, its virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ngpd_fl.clock import Event, Replay, Timeline, Usage, VirtualClock, make_timeline
from ngpd_fl.devices import DeviceConditions, DeviceCosts
from ngpd_fl.engines import Engine, EventEngine, SynchronousEngine, message_bytes
from ngpd_fl.faults import FaultyConditions, Tampering
from ngpd_fl.training.baseline import make_baseline
from ngpd_fl.training.job import Job


def make_clock(job: Job, on_round: Callable[[Sequence[Event]], None] = lambda events: None) -> VirtualClock | None:
    """Return the run's clock, at its beginning; None if it has none.

    Args:
        job: the run.
        on_round: called with the events of each round.

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
    return VirtualClock(events, Usage(topology.num_nodes, costs, training.mode), on_round)


def make_engine(job: Job, clock: VirtualClock | None) -> Engine:
    """Return the engine of the whole network, which follows the clock if there is one."""
    if job.config.training.baseline is not None:
        return make_baseline(job)
    if clock is None:
        return SynchronousEngine(job.engine_settings)
    faults, tampering = job.config.faults, None
    if faults.corrupt or faults.byzantine:
        tampering = Tampering(faults, job.config.seed, job.strategy.options.needs.per_edge)
    return EventEngine(job.engine_settings, clock, tampering)
