"""A run by the virtual clock: the events that its devices lead to, and the engine that computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ngpd_fl.clock import Event, Replay, Timeline, Watch, make_timeline
from ngpd_fl.devices import DeviceConditions, DeviceCosts, joules, relative_cost
from ngpd_fl.engines import EventEngine, SynchronousEngine, lr_scale, message_bytes
from ngpd_fl.faults import FaultyConditions, Tampering
from ngpd_fl.training.baseline import make_baseline
from ngpd_fl.training.job import Job


def make_watch(job: Job, on_round: Callable[[Sequence[Event]], None] = lambda events: None) -> Watch | None:
    """Return the run's clock, at its beginning; None where it has none.

    Args:
        job: the run.
        on_round: told the events of each round.

    Raises:
        InputError: the log in ``devices.replay`` cannot be replayed here.
    """
    config, topology, training = job.config, job.topology, job.config.training
    if not config.has_clock:
        return None
    costs = DeviceCosts(
        job.devices,
        topology,
        message_bytes=sum(message_bytes(job.strategy, job.model.start()).values()),
        local_steps=training.local_steps,
        relative_cost=relative_cost(config),
        seed=config.seed,
    )
    events: Timeline | Replay
    if config.devices.replay is not None:
        events = Replay(config.devices.replay, topology.num_nodes, len(topology.edges))
    else:
        devices = DeviceConditions(job.devices, topology, config.network.message_loss, config.seed)
        conditions = FaultyConditions(devices, config.faults, topology, config.seed)
        events = make_timeline(training.mode, topology, training.rounds, costs, conditions, training.timeout_seconds)
    return Watch(events, topology.num_nodes, costs, on_round)


def account(job: Job, watch: Watch, engine: SynchronousEngine | EventEngine) -> dict[str, Any]:
    """Return what a run has used so far by the clock, as it is recorded.

    Lists are by node. ``joules`` is null where a node's power is not known. ``staleness`` counts the messages that were
    read, by their age in rounds of their receiver; ``messages_dropped`` the others, by the reason. Of those read,
    ``messages_refused`` were garbage to their receivers and the rest taken in.
    """
    usage, sizes = watch.usage, message_bytes(job.strategy, job.model.start())
    refused = engine.refused if isinstance(engine, EventEngine) else 0
    away = usage.away_so_far()
    elapsed = [usage.seconds - each for each in away]
    energy = [
        joules(device, total, computing, sending)
        for device, total, computing, sending in zip(job.devices, elapsed, usage.computing, usage.sending, strict=True)
    ]
    known = [each for each in energy if each is not None]
    return {
        "mode": job.config.training.mode,
        "virtual_seconds": usage.seconds,
        "joules": sum(known) if len(known) == len(energy) else None,
        "node_device": [device.name for device in job.devices],
        "node_rounds": usage.rounds,
        "node_compute_seconds": usage.computing,
        "node_wait_seconds": usage.waiting,
        "node_send_seconds": usage.sending,
        "node_away_seconds": away,
        "node_joules": energy,
        "node_bytes_sent": [number * sum(sizes.values()) for number in usage.messages],
        "bytes_by_field": {name: size * sum(usage.messages) for name, size in sizes.items()},
        "messages_sent": sum(usage.messages),
        "messages_taken": usage.taken - refused,
        "messages_refused": refused,
        "messages_on_their_way": usage.on_their_way,
        "messages_dropped": dict(usage.dropped),
        "staleness": {str(age): count for age, count in sorted(usage.ages.items())},
    }


def make_engine(job: Job, watch: Watch | None) -> SynchronousEngine | EventEngine:
    """Return the engine of the whole network, by the clock if there is one."""
    if job.config.training.baseline is not None:
        return make_baseline(job)
    if watch is None:
        return job.start(SynchronousEngine)
    training, faults, tampering = job.config.training, job.config.faults, None
    if faults.corrupt or faults.byzantine:
        tampering = Tampering(faults, job.config.seed, job.strategy.options.needs.per_edge)
    return EventEngine(
        job.strategy,
        job.topology,
        job.feed,
        job.model.start(),
        events=watch,
        rounds=training.rounds,
        local_steps=training.local_steps,
        lr_scale=partial(lr_scale, training),
        chunk_size=job.chunk_size,
        tampering=tampering,
    )
