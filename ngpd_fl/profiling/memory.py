"""Memory of a run: states, messages and data counted exactly, and what the process takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import networkx as nx
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ngpd_fl.core import machine
from ngpd_fl.data import Split
from ngpd_fl.engines import SynchronousEngine, example_payload
from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.round_messages import RoundMessages
from ngpd_fl.training import Job
from strategies.contract import State
from strategies.parts.edge_consensus import EdgeDuals
from topologies import Topology


def state_bytes(job: Job, topology: Topology, chunk_size: int | None) -> dict[str, int]:
    """Return the bytes of all nodes' states by kind, as the engine holds them, from one node of each block."""
    start, local_steps = job.model.start(), job.config.training.local_steps

    def edge_penalty(degree: int, neighbor_degree: int) -> float:
        return job.strategy.edge_penalty(degree, neighbor_degree, local_steps)

    total: Counter[str] = Counter()
    for block in make_blocks(topology, edge_penalty, chunk_size, start):
        view = type(block.view)(*(field[0] for field in block.view))
        for kind, leaf in _leaves(job.strategy.init(start, view)):
            total[kind] += len(block.nodes) * leaf.numel() * leaf.element_size()
    return dict(total)


def _leaves(state: State) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of one node's state, each with its kind: a field of the state or of its edges."""
    for name, value in state._asdict().items():
        fields = value._asdict() if isinstance(value, EdgeDuals) else {name: value}
        for kind, field in fields.items():
            yield from ((kind, leaf) for leaf in tree_leaves(field) if isinstance(leaf, Tensor))


def message_bytes(job: Job) -> int:
    """Return the bytes of one message, as the engine counts them between two nodes."""
    pair = replace(job.engine_settings, topology=Topology([nx.path_graph(2)]))
    sent = SynchronousEngine(pair).run_round().bytes_sent
    return sent // 2


def messages_bytes(job: Job, topology: Topology) -> int:
    """Return the bytes in which the engine holds a round's messages, in the type of the parameters.

    A field has a row per directed edge if neighbors get different values, else one per node, and one empty row; a
    message between nodes on two devices has one on both.
    """
    per_edge, start = job.config.strategy.needs.per_edge, job.model.start()
    blocks = make_blocks(topology, lambda *degrees: 0.0, None, start, compute_devices=job.compute_devices)
    messages = RoundMessages(per_edge, blocks, len(topology.edges), topology.num_nodes)
    example = example_payload(job.strategy, start)._asdict()
    return sum(messages.num_rows(name) * value.nbytes for name, value in example.items())


def dataset_bytes(job: Job) -> int:
    """Return the bytes of the three splits; training examples count twice where nodes have their own view of them.

    Each GPU has what nodes learn from and are evaluated on.
    """
    evaluated = [job.evaluated] if isinstance(job.evaluated, Split) else job.evaluated.values()
    splits = [job.dataset.train, job.dataset.validation, job.dataset.test, *evaluated, job.minibatches.split]
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for split in splits
        for tensor in (split.inputs, split.labels)
        if tensor.device == job.compute_devices[0]
    }
    total: int = sum(storages.values())
    return len(job.compute_devices) * total


def taken_bytes(devices: Sequence[torch.device]) -> int:
    """Return the bytes that this process takes of the devices' memory, unused ones of the allocator included."""
    if devices[0].type == "cuda":
        return sum(map(torch.cuda.memory_reserved, devices))
    return machine.resident()
