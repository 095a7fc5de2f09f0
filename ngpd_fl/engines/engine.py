"""Engines: the settings that they share, and the protocol that they follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.core.batching import over_nodes
from ngpd_fl.core.workers import Workers
from ngpd_fl.engines.blocks import Block
from ngpd_fl.engines.minibatches import Minibatches
from strategies import Strategy, StrategyOptions
from strategies.contract import State
from topologies import Topology

_MOST_BYTES, _LEAST_BYTES = 8 << 20, 2 << 20
"""Flat vectors of a block's nodes on a CPU: more drop out of its caches, fewer pay each operation's fixed cost."""

_BLOCKS = 32
"""Blocks that a network is divided into, unless they would be too large or too small: enough for a CPU's cores."""


@dataclass(frozen=True, eq=False)
class EngineSettings:
    """A training run as an engine computes it.

    Attributes:
        strategy: the algorithm.
        topology: the graph of the whole network and its schedule.
        minibatches: batches and random draws of the local steps.
        start: parameters ``[P]`` at which every node starts; their dtype and device are the engine's.
        own_starts: parameters ``[N, P]`` at which each node starts instead. Defaults to ``start`` for all.
        local_steps: K.
        rounds: rounds that a node is meant to do.
        seed: keys the draws of lost messages.
        message_loss: probability that a message is lost.
        lr_scale: local step -> factor on lr.
        chunk_size: nodes computed at once, a block. Defaults to ``default_chunk_size``.
        one_by_one: whether the objective takes a block's nodes one after another, so that small blocks cost no more.
        workers: compute the blocks.
        compute_devices: hold the nodes, one after another, in equal parts. Defaults to that of ``start``.
    """

    strategy: Strategy
    topology: Topology
    minibatches: Minibatches
    start: Tensor
    local_steps: int
    rounds: int
    seed: int = 0
    message_loss: float = 0.0
    lr_scale: Callable[[int], float] = lambda step: 1.0
    own_starts: Tensor | None = None
    chunk_size: int | None = None
    one_by_one: bool = False
    workers: Workers = field(default_factory=Workers)
    compute_devices: Sequence[torch.device] = ()

    @property
    def nodes_at_once(self) -> int | None:
        """Nodes computed at once; None for all."""
        return self.chunk_size or default_chunk_size(self.start, self.topology.num_nodes, self.one_by_one)

    def init(self, block: Block) -> State:
        """Return the state of a block's nodes at the beginning of the run, stacked.

        What an algorithm takes to be known between neighbors (edge duals, copies of compressed messages) belongs to
        the common start; nodes with starts of their own then leave it. Other algorithms begin at a node's own start.
        """
        init, options = over_nodes(self.strategy.init), self.strategy.options
        common = self.start.to(block.nodes.device).expand(len(block.nodes), -1)
        if self.own_starts is None:
            return init(common, block.view)
        own = self.own_starts.to(block.nodes.device)[block.nodes]
        if options.needs.per_edge or options.compress is not None:
            return _with_params(init(common, block.view), own)
        return init(own, block.view)

    def edge_penalty(self, degree: int, neighbor_degree: int) -> float:
        """Return eta_ij of an edge between nodes of these degrees."""
        return self.strategy.edge_penalty(degree, neighbor_degree, self.local_steps)


def _with_params(state: Any, params: Tensor) -> Any:
    """Return stacked states with other parameters ``[n, P]``; a compression has the algorithm's state in its own."""
    if hasattr(state, "inner"):
        return state._replace(inner=_with_params(state.inner, params))
    return state._replace(params=params)


class RoundInfo(NamedTuple):
    """Figures of one round.

    Attributes:
        loss: mean training loss over nodes and local steps, float ``[]``.
        shrink: mean factor of the trust region, float ``[]``; 1 where nothing was shortened.
        node_steps: local steps, summed over nodes.
        bytes_sent: payload of all messages, lost ones included.
    """

    loss: Tensor | float
    shrink: Tensor | float
    node_steps: int
    bytes_sent: int


class Engine(Protocol):
    """Runs one algorithm on the nodes of a network, round by round.

    Attributes:
        round: rounds done.
    """

    round: int

    def run_round(self) -> RoundInfo:
        """Compute the next round."""
        ...

    def params(self) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[n, P]``."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the rounds to come depend on: tensors by name, and the rest as JSON values."""
        ...

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        ...

    def usage(self) -> dict[str, Any]:
        """Return what the run has used beyond rounds and bytes, as it is recorded; empty where that is all."""
        ...


def default_chunk_size(start: Tensor, num_nodes: int, one_by_one: bool) -> int | None:
    """Return how many of N nodes with vectors like ``start [P]`` a CPU computes at once; None, all, on other devices.

    It is the same for any number of workers, so that results are.
    """
    if start.device.type != "cpu":
        return None
    vector = start.numel() * start.element_size()
    most, least = max(1, _MOST_BYTES // vector), 1 if one_by_one else max(1, _LEAST_BYTES // vector)
    return min(most, max(least, -(-num_nodes // _BLOCKS)))


def check_topology(options: StrategyOptions, topology: Topology) -> None:
    """Check before anything is computed that an algorithm can run on a graph.

    Raises:
        InputError: it needs another kind of graph.
    """
    needs = options.needs
    if topology.is_directed and not (
        needs.directed == "any" or (needs.directed == "balanced" and topology.is_doubly_stochastic)
    ):
        kind = "edges that run both ways" if needs.directed == "none" else "as many edges into a node as out of it"
        raise InputError(f"topology.name: {options.title} needs {kind}; directed graphs of any kind are for sgp")
    if needs.tree and not topology.is_tree:
        raise InputError(
            f"topology.name: {options.title} needs a tree; allowed: path, star, tree, random-tree, barabasi-albert "
            "with attachments = 1, edges or a file that form one"
        )
    if needs.static and not topology.is_static:
        raise InputError(f"topology.schedule: {options.title} needs a graph that does not vary over time")
