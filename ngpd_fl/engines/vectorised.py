"""The in-process engine: all nodes stacked, each algorithm's per-node functions batched by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.links import Links
from ngpd_fl.engines.mailbox import Mailbox
from ngpd_fl.stacking import over_nodes
from strategies import Phase, Step, Strategy
from strategies.contract import Message, State
from topologies import Topology

_CHUNK_BYTES = 8 << 20
"""Flat vectors of a chunk's nodes on a CPU: more drops out of its caches, less pays each operation's fixed cost."""


class Feed(Protocol):
    """Where local steps get their batches and random numbers."""

    def __call__(self, nodes: Tensor, step: int, phase: Phase) -> tuple[Any, Tensor]:
        """Return the batches and the curvature's draws of ``nodes [n]``, every leaf with a leading axis n."""
        ...


class RoundInfo(NamedTuple):
    """What a round gave.

    Attributes:
        loss: mean training loss over nodes and local steps, float ``[]``.
        shrink: mean factor of the trust region, float ``[]``; 1 where nothing was shortened.
        bytes_sent: payload of all messages, lost ones included.
    """

    loss: Tensor
    shrink: Tensor
    bytes_sent: int


class VectorisedEngine:
    """Runs one algorithm on a whole network, round by round.

    Attributes:
        round: rounds done.
        num_nodes: N.
    """

    def __init__(
        self,
        strategy: Strategy,
        topology: Topology,
        feed: Feed,
        start: Tensor,
        *,
        local_steps: int,
        seed: int = 0,
        message_loss: float = 0.0,
        lr_scale: Callable[[int], float] = lambda step: 1.0,
        chunk_size: int | None = None,
    ) -> None:
        """Put every node at ``start``.

        Args:
            strategy: the algorithm.
            topology: the graph and its schedule.
            feed: batches and draws.
            start: parameters ``[P]``; their dtype and device are the engine's.
            local_steps: K.
            seed: keys the draws of lost messages.
            message_loss: probability that a message is lost.
            lr_scale: local step -> factor on lr.
            chunk_size: nodes computed at once; none: as many as stay in a CPU's cache, on other devices all.
        """
        self.round = 0
        self.num_nodes = topology.num_nodes
        self._strategy = strategy
        self._feed = feed
        self._start = start
        self._local_steps = local_steps
        self._lr_scale = lr_scale
        self._links = Links(topology, message_loss, seed, start.dtype, start.device)
        self._mailbox = Mailbox(strategy.options.spec.per_edge, len(topology.edges), topology.num_nodes)

        def edge_penalty(degree: int, neighbour_degree: int) -> float:
            return strategy.edge_penalty(degree, neighbour_degree, local_steps)

        chunk_size = chunk_size or _default_chunk_size(start)
        self._blocks = make_blocks(topology, edge_penalty, chunk_size, start.dtype, start.device)
        self._states: list[State] = [
            over_nodes(strategy.init)(start.expand(len(block.nodes), -1), block.view) for block in self._blocks
        ]

    def run_round(self) -> RoundInfo:
        """Take K local steps at every node, exchange once, and return what it gave."""
        round = self._links.open(self.round)
        losses, shrinks = [], []
        outboxes: list[Message] = []
        for index, block in enumerate(self._blocks):
            loss, shrink = self._local_steps_of(index)
            losses.append(loss)
            shrinks.append(shrink)
            outbox = over_nodes(self._strategy.outgoing)(
                self._states[index], block.view, self._links.view(round, block)
            )
            self._mailbox.put(block, outbox)
            outboxes.append(outbox)
        for index, block in enumerate(self._blocks):
            headers = self._links.headers(round, block)
            self._states[index] = over_nodes(self._strategy.incoming)(
                self._states[index],
                block.view,
                self._links.view(round, block),
                self._mailbox.take(block, headers.received),
                outboxes[index],
                headers,
            )
        self._links.close(round)
        self.round += 1
        bytes_sent = int(round.sent.sum()) * self._mailbox.bytes_per_message()
        return RoundInfo(torch.cat(losses).mean(), torch.cat(shrinks).mean(), bytes_sent)

    def params(self) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[N, P]``."""
        params = self._start.new_empty((self.num_nodes, self._start.numel()))
        for block, state in zip(self._blocks, self._states, strict=True):
            params[block.nodes] = over_nodes(self._strategy.estimate)(state)
        return params

    def _local_steps_of(self, index: int) -> tuple[Tensor, Tensor]:
        """Take the round's local steps in one block; return each node's mean loss and trust factor, ``[n]``."""
        block, state = self._blocks[index], self._states[index]
        infos = []
        for step in range(self.round * self._local_steps, (self.round + 1) * self._local_steps):
            phase = self._strategy.phase(step)
            batch, draws = self._feed(block.nodes, step, phase)
            scale = self._start.new_full((len(block.nodes),), self._lr_scale(step))
            take = over_nodes(partial(self._strategy.local_step, phase=phase))
            state, info = take(state, block.view, Step(batch, draws, scale))
            infos.append(info)
        self._states[index] = state
        return torch.stack([info.loss for info in infos]).mean(0), torch.stack([info.shrink for info in infos]).mean(0)


def _default_chunk_size(start: Tensor) -> int | None:
    """Return how many vectors like ``start [P]`` a CPU's chunk holds; None, all, on other devices."""
    return max(1, _CHUNK_BYTES // (start.numel() * start.element_size())) if start.device.type == "cpu" else None
