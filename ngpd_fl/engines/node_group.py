"""The nodes that one process computes, stacked: local steps, and the exchange among them and with nodes elsewhere.

The in-process engine is one crew of all nodes. A client that hosts some of them is a crew whose messages to the
others leave as a ``OutgoingMessages``; those between its own nodes never do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.edge_state import EdgeHeader, EdgeState, Round
from ngpd_fl.engines.example import message_bytes
from ngpd_fl.engines.minibatches import Drawn, Feed, draw
from ngpd_fl.engines.round_messages import Letters, RoundMessages
from ngpd_fl.engines.snapshot import from_tensors, is_curvature, to_tensors
from strategies import Phase, Step, StepInfo, Strategy
from strategies.contract import Message, State
from topologies import Topology

_CHUNK_BYTES = 8 << 20
"""Flat vectors of a chunk's nodes on a CPU: more drops out of its caches, less pays each operation's fixed cost."""


REFRESH = Phase(refresh_factors=True, refresh_basis=True)
"""The phase of a step that follows the loss of the curvature."""


class OutgoingMessages(NamedTuple):
    """What nodes here and nodes elsewhere send each other in one round.

    Attributes:
        letters: the messages' content, by field.
        slips: directed edge -> what its message says about the edge. An edge without one carries no message.
    """

    letters: Letters
    slips: dict[int, EdgeHeader]


NOTHING = OutgoingMessages({}, {})
"""What arrives where there is no one elsewhere, or where all is lost."""


class Work(NamedTuple):
    """Each node's mean over its local steps of a round, ``[n]``, nodes in the crew's order.

    Attributes:
        loss: training loss.
        shrink: factor of the trust region; 1 where nothing was shortened.
    """

    loss: Tensor
    shrink: Tensor


class NodeGroup:
    """Some nodes of a network, computed at once.

    A round is ``work``, then ``write``, then ``read``. The last of them may be left to a later process: ``state`` and
    ``load`` carry everything over.

    Attributes:
        nodes: their indices in the graph in the order in which results come, int64 ``[n]``.
        outgoing: directed edges to nodes elsewhere, each with its sender.
        incoming: directed edges from nodes elsewhere, each with its sender.
        bytes_per_message: the payload of one message over one directed edge.
        has_forgotten: whether the curvature was lost, or is out of date, and the next local step estimates it anew.
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
        nodes: Sequence[int] | None = None,
    ) -> None:
        """Put every node at ``start``.

        Args:
            strategy: the algorithm.
            topology: the graph and its schedule, of the whole network.
            feed: batches and draws.
            start: parameters ``[P]``; their dtype and device are the crew's.
            local_steps: K.
            seed: keys the draws of lost messages.
            message_loss: probability that a message is lost.
            lr_scale: local step -> factor on lr.
            chunk_size: nodes computed at once; none: as many as stay in a CPU's cache, on other devices all.
            nodes: which nodes; none: all.
        """
        self._strategy = strategy
        self._feed = feed
        self._start = start
        self._local_steps = local_steps
        self._lr_scale = lr_scale
        self._links = EdgeState(topology, message_loss, seed, start.dtype, start.device)

        def edge_penalty(degree: int, neighbor_degree: int) -> float:
            return strategy.edge_penalty(degree, neighbor_degree, local_steps)

        chunk_size = chunk_size or default_chunk_size(start)
        self._blocks = make_blocks(topology, edge_penalty, chunk_size, start.dtype, start.device, nodes)
        self._mailbox = RoundMessages(
            strategy.options.needs.per_edge, self._blocks, len(topology.edges), topology.num_nodes
        )
        self.nodes = torch.cat([block.nodes for block in self._blocks])
        self._names: list[int] = self.nodes.tolist()
        self._out_edges = torch.cat([block.out_edge.flatten() for block in self._blocks]).cpu()
        self._states: list[State] = [
            over_nodes(strategy.init)(start.expand(len(block.nodes), -1), block.view) for block in self._blocks
        ]
        self.outgoing, self.incoming = self._edges_elsewhere()
        self._written: tuple[Round, list[Message]] | None = None
        self.bytes_per_message = sum(message_bytes(strategy, start).values())
        self.has_forgotten = False

    def work(self, number: int) -> Work:
        """Take the K local steps of round ``number`` at every node."""
        first = number * self._local_steps
        phases = [self._strategy.phase(step) for step in range(first, first + self._local_steps)]
        if self.has_forgotten:
            phases[0] = REFRESH
        drawn = draw(self._feed, self._names, [first] * len(self._names), phases)
        of_blocks, begin = [], 0
        for index, block in enumerate(self._blocks):
            rows = slice(begin, begin + len(block.nodes))
            of_blocks.append(self._local_steps_of(index, rows, first, phases, drawn))
            begin = rows.stop
        self.has_forgotten = False
        losses, shrinks = zip(*of_blocks, strict=True)
        return Work(torch.cat(losses), torch.cat(shrinks))

    def write(self, number: int) -> OutgoingMessages:
        """Return what leaves for nodes elsewhere in round ``number``, lost messages included."""
        round = self._links.open(number)
        outboxes = []
        for block, state in zip(self._blocks, self._states, strict=True):
            outbox = over_nodes(self._strategy.outgoing)(state, block.view, self._links.view(round, block))
            self._mailbox.put(block, outbox)
            outboxes.append(outbox)
        self._written = (round, outboxes)
        sending = {edge: node for edge, node in self.outgoing.items() if round.sent[edge]}
        letters = self._mailbox.letters(list(sending), sorted(set(sending.values())))
        return OutgoingMessages(letters, {edge: self._links.slip(round, edge) for edge in sending})

    def read(self, number: int, parcel: OutgoingMessages = NOTHING) -> int:
        """Take in what the nodes of the crew sent each other in round ``number``, and ``parcel`` from elsewhere.

        What comes from elsewhere may be of other rounds, provided that its sender had not yet applied what this crew
        sent in round ``number``.

        Returns:
            The payload in bytes of all messages that these nodes sent, lost ones included.

        Raises:
            ValueError: the parcel holds what no node of the crew can use.
        """
        if self._written is None or self._written[0].number != number:
            self.write(number)
        assert self._written is not None
        round, outboxes = self._written
        unknown = [edge for edge in parcel.slips if edge not in self.incoming]
        if unknown:
            raise ValueError(f"a message over directed edge {unknown[0]}, which does not end here")
        self._mailbox.deliver(parcel.letters, self.incoming.keys(), self.incoming.values())
        if self.incoming:
            delivered = round.delivered.clone()
            delivered[list(self.incoming)] = False
            round = self._links.told(round._replace(delivered=delivered), parcel.slips)
        for index, (block, outbox) in enumerate(zip(self._blocks, outboxes, strict=True)):
            headers = self._links.headers(round, block)
            self._states[index] = over_nodes(self._strategy.incoming)(
                self._states[index],
                block.view,
                self._links.view(round, block),
                self._mailbox.take(block, headers.received),
                outbox,
                headers,
            )
        self._links.close(round)
        self._written = None
        return int(round.sent[self._out_edges].sum()) * self.bytes_per_message

    def awaits(self, number: int) -> list[int]:
        """Return the directed edges over which nodes elsewhere send in round ``number``, lost messages included."""
        sent = self._links.open(number).sent
        return [edge for edge in self.incoming if sent[edge]]

    def arrives(self, number: int, edge: int) -> bool:
        """Return whether the message of round ``number`` over a directed edge is one that is sent and not lost."""
        return bool(self._links.open(number).delivered[edge])

    def sent(self, edge: int) -> int:
        """Return how many messages were sent over a directed edge in rounds that were read."""
        return self._links.sent(edge)

    def reset(self, edges: Sequence[int] | None = None) -> None:
        """Note that an end of edges from elsewhere went back to an earlier state, which it reached a second time.

        Args:
            edges: directed edges to this crew whose other end did; none: this crew itself did.
        """
        own = edges is None
        self._links.reset(list(self.incoming) if edges is None else edges, own=own)

    def put(self, params: Tensor) -> None:
        """Give every node the parameters ``[P]``; the rest of its state, which has a field of that name, stays."""
        self._states = [state._replace(params=params.expand_as(state.params).clone()) for state in self._states]

    def params(self) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[n, P]``."""
        return torch.cat([over_nodes(self._strategy.estimate)(state) for state in self._states])

    def state(self) -> dict[str, Tensor]:
        """Return all that a process needs to go on from here, by name; ``load`` takes it back."""
        state = self._leaves()
        return {name: leaf for name, leaf in state.items() if not (self.has_forgotten and is_curvature(name))}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned.

        Where it was kept without its curvature (``is_curvature``), that is estimated anew: the next local step
        refreshes all of it.

        Raises:
            ValueError: it belongs to another network, algorithm or crew.
        """
        own = {name: leaf for name, leaf in self._leaves().items() if is_curvature(name)}
        forgotten = bool(own) and not any(is_curvature(name) for name in state)
        restored = from_tensors(self._tree(), {**own, **state} if forgotten else state)
        self._states = restored["blocks"]
        self._links.load(restored["links"])
        self._written = None
        self.has_forgotten = forgotten

    def _tree(self) -> dict[str, Any]:
        return {"blocks": self._states, "links": self._links.state()}

    def _leaves(self) -> dict[str, Tensor]:
        return to_tensors(self._tree())

    def _edges_elsewhere(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the directed edges to and from nodes elsewhere, each with its sender."""
        here = set(self._names)
        outgoing, incoming = {}, {}
        for block in self._blocks:
            nodes, others, outward, inward, exists = (
                each.cpu()
                for each in (block.nodes, block.view.neighbor, block.out_edge, block.in_edge, block.view.exists)
            )
            for row, slot in exists.nonzero().tolist():
                if (other := int(others[row, slot])) not in here:
                    outgoing[int(outward[row, slot])] = int(nodes[row])
                    incoming[int(inward[row, slot])] = other
        return outgoing, incoming

    def _local_steps_of(
        self, index: int, rows: slice, first: int, phases: Sequence[Phase], drawn: Drawn
    ) -> tuple[Tensor, Tensor]:
        """Take a round's local steps in one block; return each node's mean loss and trust factor, ``[n]``.

        Args:
            index: the block.
            rows: where its nodes are among those of the crew.
            first: the round's first local step.
            phases: of the steps.
            drawn: what the crew's nodes read in them.
        """
        block, state = self._blocks[index], self._states[index]
        infos: list[StepInfo] = []
        for step, phase in enumerate(phases):
            scale = self._start.new_full((len(block.nodes),), self._lr_scale(first + step))
            take = over_nodes(partial(self._strategy.local_step, phase=phase))
            state, info = take(state, block.view, Step(*drawn(step, rows), scale))
            infos.append(info)
        self._states[index] = state
        return torch.stack([info.loss for info in infos]).mean(0), torch.stack([info.shrink for info in infos]).mean(0)


def default_chunk_size(start: Tensor) -> int | None:
    """Return how many vectors like ``start [P]`` a CPU's chunk holds; None, all, on other devices."""
    return max(1, _CHUNK_BYTES // (start.numel() * start.element_size())) if start.device.type == "cpu" else None
