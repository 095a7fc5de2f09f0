"""Estimate of a run before it starts: memory, bytes sent, and time.

States, messages and models are counted exactly. Time, and the memory that a process takes beside them, are measured on
parts of the network with the same mean degree, on the nodes' own data, and scaled in proportion.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from ngpd_fl.config import Config, InputError
from ngpd_fl.core import machine
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.profiling.memory import dataset_bytes, message_bytes, messages_bytes, state_bytes, taken_bytes
from ngpd_fl.profiling.subnetwork import smallest_part
from ngpd_fl.profiling.timing import evaluation_seconds, measure_rounds
from ngpd_fl.training import compose
from topologies import Topology


class Estimate(NamedTuple):
    """Memory, traffic and time of a run; sizes in bytes, times in seconds.

    Attributes:
        config: the run's configuration.
        num_nodes: the number of nodes, N.
        parameters: the number of parameters, P.
        state: bytes of all nodes' states by kind; exact.
        dataset: bytes of the data set in memory; exact.
        messages: bytes of a round's messages in memory; exact.
        models: bytes of the nodes' models, collected for an evaluation; exact.
        work: bytes that rounds take beyond all this, among them what the allocator keeps; measured on a part, in
            proportion.
        process: bytes of the program, its libraries and its reading of the data; measured. 0 on a GPU.
        loading_peak: peak bytes of the program until the data were read; measured. 0 on a GPU.
        limit: bytes of available memory, of all GPUs that compute; None where not known.
        message: bytes of one message; exact.
        sent: bytes sent in the whole run; exact.
        loading: time to read the data and build the network; measured.
        round: mean time of a round; measured on a part, in proportion. None if no part fitted into memory.
        evaluation: time of an evaluation; measured on two models, in proportion.
        evaluations: the number of evaluations.
        measured_nodes: the number of nodes on which rounds were timed.
    """

    config: Config
    num_nodes: int
    parameters: int
    state: Mapping[str, int]
    dataset: int
    messages: int
    models: int
    work: int
    process: int
    loading_peak: int
    limit: int | None
    message: int
    sent: int
    loading: float
    round: float | None
    evaluation: float
    evaluations: int
    measured_nodes: int

    @property
    def memory(self) -> int:
        """Peak bytes of memory, estimated."""
        running = sum(self.state.values()) + self.dataset + self.messages + self.models + self.work + self.process
        return max(running, self.loading_peak)

    @property
    def training_seconds(self) -> float | None:
        """Time of all rounds, estimated; None if no round could be timed."""
        return None if self.round is None else self.round * self.config.training.rounds

    @property
    def evaluation_seconds(self) -> float:
        """Time of all evaluations, estimated."""
        return self.evaluation * self.evaluations


def estimate(config: Config) -> Estimate:
    """Estimate the run of ``config``; nothing is written.

    Raises:
        InputError: the configuration cannot be run, or is a baseline, which cannot be measured on a part of a network.
    """
    if config.training.baseline is not None:
        raise InputError("training.baseline: only runs of peers are estimated; unset it")
    with own_settings(config.engine.threads):
        began = time.perf_counter()
        job = compose(config)
        loading = time.perf_counter() - began
        topology, chunk_size, start = job.topology, job.chunk_size, job.model.start()
        data = dataset_bytes(job)
        process, peak, limit = _memory(job.compute_devices, data)
        state = state_bytes(job, topology, chunk_size)
        message = message_bytes(job)
        messages = messages_bytes(job, topology)
        held, size = sum(state.values()) + messages, smallest_part(topology)
        room = float("inf") if limit is None else limit - data - process
        work, round, measured_nodes = 0, None, 0
        if 3 * held * size < room * topology.num_nodes:
            share = min(0.2 * room / held, 1.0)  # of the network that may be measured
            most = topology.num_nodes if share == 1 else max(2 * int(share * topology.num_nodes / 2), size)
            round, measured_nodes, taken, per_node = measure_rounds(job, size, most)
            exact = held / topology.num_nodes
            others = (topology.num_nodes - measured_nodes) * max(per_node or 0, exact)
            work = max(int(taken - process - data + others) - held, 0)
        return Estimate(
            config=config,
            num_nodes=topology.num_nodes,
            parameters=job.model.num_params,
            state=state,
            dataset=data,
            messages=messages,
            models=topology.num_nodes * start.nbytes,
            work=work,
            process=process,
            loading_peak=peak,
            limit=limit,
            message=message,
            sent=message * sum(_messages(topology, config.training.rounds)),
            loading=loading,
            round=round,
            evaluation=evaluation_seconds(job),
            evaluations=1 + -(-config.training.rounds // config.evaluation.every),
            measured_nodes=measured_nodes,
        )


def _memory(devices: Sequence[torch.device], data: int) -> tuple[int, int, int | None]:
    """Return the bytes that the process takes besides its data, those at the peak so far, and the devices' limit."""
    if devices[0].type == "cuda":
        return 0, 0, sum(torch.cuda.get_device_properties(device).total_memory for device in devices)
    return max(taken_bytes(devices) - data, 0), machine.peak_resident(), machine.memory()


def _messages(topology: Topology, rounds: int) -> Iterator[int]:
    """Yield the number of messages sent in each round."""
    period = min(topology.period or rounds, rounds)
    counts = [int(topology.sent(round).sum()) for round in range(period)]
    yield from (counts[round % period] for round in range(rounds))
