"""Memory of a run: states and messages counted exactly, the rest of a round measured on a part of the network."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ngpd_fl.data import Split
from ngpd_fl.engines import SynchronousEngine, example_payload
from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.round_messages import RoundMessages
from ngpd_fl.profiling.subnetwork import part_of
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


def work_bytes(job: Job, size: int) -> int:
    """Return the peak bytes of a round of the network beyond states and messages.

    Args:
        job: the run.
        size: the number of nodes to measure on.
    """
    num_nodes, chunk_size = job.topology.num_nodes, job.chunk_size
    if chunk_size is not None:  # as many blocks as the network has
        chunk_size = max(chunk_size * size // num_nodes, 1)
    part, allocations = part_of(job.topology, size), Allocations()
    with allocations:
        engine = SynchronousEngine(replace(job.engine_settings, topology=part, chunk_size=chunk_size))
        for _ in range(2):  # in the first, states share what is zero at every node
            engine.round = 0
            engine.run_round()
    held = sum(state_bytes(job, part, chunk_size).values()) + messages_bytes(job, part)
    return max(allocations.peak - held, 0) * num_nodes // size


def message_bytes(job: Job) -> int:
    """Return the bytes of one message, as the engine counts them between two nodes."""
    pair = replace(job.engine_settings, topology=Topology([nx.path_graph(2)]))
    sent = SynchronousEngine(pair).run_round().bytes_sent
    return sent // 2


def messages_bytes(job: Job, topology: Topology) -> int:
    """Return the bytes in which the engine holds a round's messages, in the type of the parameters.

    There is a row per directed edge if neighbors get different messages, else one per node, and one empty row; a
    message between nodes on two devices has one on both.
    """
    per_edge, start = job.config.strategy.needs.per_edge, job.model.start()
    blocks = make_blocks(topology, lambda *degrees: 0.0, None, start, devices=job.compute_devices)
    rows = RoundMessages(per_edge, blocks, len(topology.edges), topology.num_nodes).num_rows(next(iter(per_edge), ""))
    message: int = sum(value.nbytes for value in example_payload(job.strategy, start))
    return rows * message


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


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that counts the bytes of the tensors made in it, as long as they live, on any device.

    Attributes:
        peak: the most bytes at one time.
    """

    def __init__(self) -> None:
        """Start at zero bytes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation of torch and count the tensors that it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known[key] = weakref.ref(storage, lambda _: self._forget(key, size))
            self._live += size
            self.peak = max(self.peak, self._live)

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self._live -= size
