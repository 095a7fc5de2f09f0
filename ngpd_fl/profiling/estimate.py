"""What a run will take, before it is run: memory, bytes on the wire, time.

The state of every node and every message are counted exactly. Time and the memory at work are measured on a part of the
network with as many neighbors per node, on the nodes' own data, and carried over in proportion.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from ngpd_fl.config import Config, InputError
from ngpd_fl.core import machine
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.profiling.memory import dataset_bytes, message_bytes, messages_bytes, state_bytes, work_bytes
from ngpd_fl.profiling.subnetwork import smallest_part
from ngpd_fl.profiling.timing import evaluation_seconds, round_seconds
from ngpd_fl.training import compose
from topologies import Topology


class Estimate(NamedTuple):
    """What a run will take; sizes in bytes, times in seconds.

    Attributes:
        config: of the run.
        num_nodes: N.
        parameters: P.
        state: kind -> bytes of all nodes; exact.
        dataset: bytes of the images in memory; exact.
        messages: bytes of the messages of a round in memory; exact.
        work: most bytes that a round takes besides; measured on a part, in proportion.
        work_nodes: on how many nodes that was measured; 0 where they did not fit into memory.
        process: bytes of the program itself, its libraries and what it takes to read the data; measured. 0 on a GPU.
        loading_peak: most bytes that the program held until now, when the data had been read; measured. 0 on a GPU.
        limit: bytes of memory that there are; None where that is not known.
        message: bytes of one message; exact.
        sent: bytes that are sent in the whole run; exact.
        loading: to read the data and make the network; measured.
        round: a round on average; measured on a part, in proportion. None where none fitted into memory.
        evaluation: an evaluation; measured on two models, in proportion.
        evaluations: how many there are.
        measured_nodes: on how many nodes rounds were timed.
    """

    config: Config
    num_nodes: int
    parameters: int
    state: Mapping[str, int]
    dataset: int
    messages: int
    work: int
    work_nodes: int
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
        """The most bytes of memory, estimated."""
        running = sum(self.state.values()) + self.dataset + self.messages + self.work + self.process
        return max(running, self.loading_peak)

    @property
    def training_seconds(self) -> float | None:
        """All rounds, estimated."""
        return None if self.round is None else self.round * self.config.training.rounds

    @property
    def evaluation_seconds(self) -> float:
        """All evaluations, estimated."""
        return self.evaluation * self.evaluations


def estimate(config: Config) -> Estimate:
    """Estimate what ``config`` will take; nothing is written.

    Raises:
        InputError: the configuration cannot be run, or is a reference, which is not measured on a part of the network.
    """
    if config.training.baseline is not None:
        raise InputError("training.baseline: only runs of peers are estimated; unset it")
    with own_settings(config.engine.threads):
        began = time.perf_counter()
        job = compose(config)
        loading = time.perf_counter() - began
        topology, chunk_size = job.topology, job.chunk_size
        data = dataset_bytes(job)
        limit: int | None
        if job.device.type == "cuda":
            process, peak, limit = 0, 0, torch.cuda.get_device_properties(job.device).total_memory
        else:
            process, peak = max((machine.resident() or 0) - data, 0), machine.peak_resident() or 0
            limit = machine.memory()

        state = state_bytes(job, topology, chunk_size)
        message = message_bytes(job)
        messages = messages_bytes(job, topology)
        held, size = sum(state.values()) + messages, smallest_part(topology)
        room = float("inf") if limit is None else limit - data - process
        work, tried, round, measured = 0, 0, None, 0
        if 3 * held * size < room * topology.num_nodes:
            tried = size
            work = work_bytes(job, size)
            share = min(0.5 * room / (held + work), 1.0)  # of the network that may be tried
            most = topology.num_nodes if share == 1 else max(2 * int(share * topology.num_nodes / 2), size)
            round, measured = round_seconds(job, size, most)
        return Estimate(
            config,
            topology.num_nodes,
            job.model.num_params,
            state,
            data,
            messages,
            work,
            tried,
            process,
            peak,
            limit,
            message,
            message * sum(_messages(topology, config.training.rounds)),
            loading,
            round,
            evaluation_seconds(job),
            1 + -(-config.training.rounds // config.evaluation.every),
            measured,
        )


def _messages(topology: Topology, rounds: int) -> Iterator[int]:
    """Yield how many messages are sent in each round."""
    period = min(topology.period or rounds, rounds)
    counts = [int(topology.sent(round).sum()) for round in range(period)]
    yield from (counts[round % period] for round in range(rounds))
