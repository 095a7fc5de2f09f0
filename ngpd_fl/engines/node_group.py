"""The nodes that one process computes, stacked: local steps, and the exchange among them and with other nodes.

The in-process engine is one group of all nodes. A client that hosts some of them is a group whose messages to the
others leave as ``OutgoingMessages``; those between its own nodes never do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.core.directed_edges import EdgeHeader
from ngpd_fl.core.trace import Traced
from ngpd_fl.engines.blocks import Block, make_blocks
from ngpd_fl.engines.edge_state import EdgeState, Round
from ngpd_fl.engines.engine import EngineSettings
from ngpd_fl.engines.example import message_bytes
from ngpd_fl.engines.messages import Payload
from ngpd_fl.engines.minibatches import Drawn, Minibatches, RoundMinibatches, draw
from ngpd_fl.engines.round_messages import RoundMessages
from ngpd_fl.engines.states import Stack, divide_into, from_tensors, is_curvature, to_tensors
from strategies import Phase, RoundView, Step, StepInfo
from strategies.contract import Message, State

REFRESH = Phase(refresh_factors=True, refresh_basis=True)
"""The phase of a step that follows the loss of the curvature."""


class OutgoingMessages(NamedTuple):
    """The messages between the nodes of a group and all others in one round.

    Attributes:
        payload: the messages' content, by field.
        headers: directed edge -> the header of its message. An edge without one carries no message.
    """

    payload: Payload
    headers: dict[int, EdgeHeader]


NO_MESSAGES = OutgoingMessages({}, {})
"""No messages of other nodes: there are none, or every message is lost."""


class NodeGroup:
    """Some nodes of a network, computed at once.

    A round is ``work``, then ``write``, then ``read``. The last of them may be left to a later process: ``state`` and
    ``load`` carry everything over.

    Attributes:
        settings: the run.
        nodes: their indices in the graph in the order in which results come, int64 ``[n]``.
        outgoing: directed edges to other nodes, each with its sender.
        incoming: directed edges from other nodes, each with its sender.
        bytes_per_message: the payload of one message over one directed edge.
        has_forgotten: whether the curvature was lost, or is out of date, and the next local step estimates it anew.
    """

    def __init__(self, settings: EngineSettings, nodes: Sequence[int] | None = None) -> None:
        """Put every node at its start.

        Args:
            settings: the run.
            nodes: their indices. Defaults to all nodes.
        """
        strategy, topology, start = settings.strategy, settings.topology, settings.start
        self.settings = settings
        self._strategy = strategy
        self._edges = EdgeState(topology, settings.message_loss, settings.seed, start)
        self._blocks = make_blocks(
            topology, settings.edge_penalty, settings.nodes_at_once, start, nodes, settings.compute_devices
        )
        self._messages = RoundMessages(
            strategy.options.needs.per_edge, self._blocks, len(topology.edges), topology.num_nodes
        )
        self.nodes = self._joined([block.nodes for block in self._blocks])
        self._indices: list[int] = self.nodes.tolist()
        self._nodes_on: dict[torch.device, list[int]] = {}
        self._rows: list[slice] = []  # of each block's nodes among all of the group
        self._rows_there: list[slice] = []  # and among those on its device
        for block in self._blocks:
            there, begin = self._nodes_on.setdefault(block.nodes.device, []), sum(map(len, self._nodes_on.values()))
            self._rows.append(slice(begin, begin + len(block.nodes)))
            self._rows_there.append(slice(len(there), len(there) + len(block.nodes)))
            there += block.nodes.tolist()
        self._out_edges = self._joined([block.out_edge.flatten() for block in self._blocks]).cpu().numpy()
        self._stacks = [Stack(settings.init(block)) for block in self._blocks]
        self._step_in = lru_cache(None)(lambda phase: Traced(over_nodes(partial(strategy.local_step, phase=phase))))
        self._outgoing, self._incoming = Traced(over_nodes(strategy.outgoing)), Traced(over_nodes(strategy.incoming))
        self._estimate = over_nodes(strategy.estimate)
        self.outgoing, self.incoming = self._outer_edges()
        self._written: tuple[Round, list[RoundView], list[Message]] | None = None
        self.bytes_per_message = sum(message_bytes(strategy, start).values())
        self.has_forgotten = False

    def work(self, number: int) -> StepInfo:
        """Run the K local steps of round ``number``; return each node's means over them, ``[n]``, as ``nodes`` lie.

        What they read is drawn for all nodes on a device at once.
        """
        steps = self.settings.local_steps
        first = number * steps
        phases = [self._strategy.phase(step) for step in range(first, first + steps)]
        if self.has_forgotten:
            phases[0] = REFRESH
        drawn = {
            device: draw(self._minibatches_on(device), nodes, [first] * len(nodes), phases)
            for device, nodes in self._nodes_on.items()
        }

        def local_steps(index: int, rows: slice) -> StepInfo:
            return self._local_steps_of(index, rows, first, phases, drawn[self._blocks[index].nodes.device])

        infos = self.settings.workers.map(local_steps, range(len(self._blocks)), self._rows_there)
        self.has_forgotten = False
        return StepInfo(*map(self._joined, zip(*infos, strict=True)))

    def write(self, number: int) -> OutgoingMessages:
        """Return the messages to other nodes in round ``number``, lost ones included."""
        round = self._edges.open(number)

        def write(block: Block, state: State, view: RoundView) -> Message:
            outbox = self._outgoing(state, block.view, view)
            self._messages.put(block, outbox)
            return outbox

        views = [self._edges.view(round, block) for block in self._blocks]
        self._written = (round, views, self.settings.workers.map(write, self._blocks, self.states, views))
        self._messages.exchange()
        sending = {edge: node for edge, node in self.outgoing.items() if round.sent[edge]}
        payload = self._messages.payload(list(sending), sorted(set(sending.values())))
        return OutgoingMessages(payload, {edge: self._edges.edge_header(round, edge) for edge in sending})

    def read(self, number: int, arrived: OutgoingMessages = NO_MESSAGES) -> int:
        """Read the messages that the nodes of the group sent each other in round ``number``, and those of other nodes.

        Messages of other nodes may be of other rounds, provided that their sender had not yet applied what this group
        sent in round ``number``.

        Returns:
            The payload in bytes of all messages that these nodes sent, lost ones included.

        Raises:
            ValueError: messages came that no node of the group can use.
        """
        if self._written is None or self._written[0].number != number:
            self.write(number)
        assert self._written is not None
        round, views, outboxes = self._written
        unknown = [edge for edge in arrived.headers if edge not in self.incoming]
        if unknown:
            raise ValueError(f"a message over directed edge {unknown[0]}, which does not end here")
        self._messages.deliver(arrived.payload, self.incoming.keys(), self.incoming.values())
        if self.incoming:
            delivered = round.delivered.copy()
            delivered[list(self.incoming)] = False
            round = self._edges.receive(round._replace(delivered=delivered), arrived.headers)
            views = [self._edges.view(round, block) for block in self._blocks]

        headers = [self._edges.headers(round, block) for block in self._blocks]

        def read(index: int) -> None:  # each replaces its own state at once: memory for two of all is not needed
            block, stack = self._blocks[index], self._stacks[index]
            inbox = self._messages.take(block, headers[index].received)
            stack.replace(self._incoming(stack.state, block.view, views[index], inbox, outboxes[index], headers[index]))

        self.settings.workers.map(read, range(len(self._blocks)))
        self._edges.close(round)
        self._written = None
        return int(round.sent[self._out_edges].sum()) * self.bytes_per_message

    def readable(self, number: int, arrived: OutgoingMessages) -> OutgoingMessages:
        """Return what can be read of messages of other nodes in round ``number``, which may be anything."""
        if self._written is None or self._written[0].number != number:
            self.write(number)
        headers = {
            edge: header
            for edge, header in arrived.headers.items()
            if edge in self.incoming
            and self._edges.is_possible(number, edge, header)
            and self._messages.is_whole(arrived.payload, edge, self.incoming[edge])
        }
        sources = {True: headers.keys(), False: {self.incoming[edge] for edge in headers}}
        per_edge = self._strategy.options.needs.per_edge
        payload = {
            field: {source: value for source, value in values.items() if source in sources[field in per_edge]}
            for field, values in arrived.payload.items()
            if headers and self._messages.has_field(field)
        }
        return OutgoingMessages(payload, headers)

    def awaits(self, number: int) -> list[int]:
        """Return the directed edges over which other nodes send in round ``number``, lost messages included."""
        sent = self._edges.open(number).sent
        return [edge for edge in self.incoming if sent[edge]]

    def arrives(self, number: int, edge: int) -> bool:
        """Return whether the message of round ``number`` over a directed edge is one that is sent and not lost."""
        return bool(self._edges.open(number).delivered[edge])

    def sent(self, edge: int) -> int:
        """Return how many messages were sent over a directed edge in rounds that were read."""
        return self._edges.sent(edge)

    def reset(self, edges: Sequence[int] | None = None) -> None:
        """Note that one end of edges from other nodes went back to an earlier state, which it reached a second time.

        Args:
            edges: directed edges to this group whose other end did. By default this group itself did.
        """
        own = edges is None
        self._edges.reset(list(self.incoming) if edges is None else edges, own=own)

    @property
    def states(self) -> list[State]:
        """The nodes' states, one stack after another, in the order of ``nodes``; others after the next round."""
        return [stack.state for stack in self._stacks]

    def set_params(self, params: Tensor) -> None:
        """Give every node the parameters ``[P]``; the rest of its state, which has a field of that name, stays."""
        for stack in self._stacks:
            state = stack.state
            stack.replace(state._replace(params=params.to(state.params.device).expand_as(state.params)))

    def params(self, *, in_order: bool = False) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[n, P]``; ``in_order`` of the nodes' indices.

        They lie on the first device.
        """
        params = self.settings.start.new_empty((len(self.nodes), len(self.settings.start)))

        def write(state: State, rows: slice) -> None:  # one block at once: memory for two of all is not needed
            params[places[rows]] = self._estimate(state).to(params.device)

        places = self.nodes.argsort().argsort() if in_order else torch.arange(len(self.nodes), device=params.device)
        self.settings.workers.map(write, self.states, self._rows)
        return params

    def state(self) -> dict[str, Tensor]:
        """Return all that a process needs to go on from here, by name; ``load`` restores it."""
        state = self._leaves()
        return {name: leaf for name, leaf in state.items() if not (self.has_forgotten and is_curvature(name))}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned, here or in a group of the same nodes in other blocks, on other devices.

        Where it was kept without its curvature (``is_curvature``), that is estimated anew: the next local step
        refreshes all of it.

        Raises:
            ValueError: it belongs to another network, algorithm or group.
        """
        state = divide_into([len(block.nodes) for block in self._blocks], state)
        own = {name: leaf for name, leaf in self._leaves().items() if is_curvature(name)}
        forgotten = bool(own) and not any(is_curvature(name) for name in state)
        restored = from_tensors(self._tree(), {**own, **state} if forgotten else state)
        for stack, of_block in zip(self._stacks, restored["blocks"], strict=True):
            stack.replace(of_block)
        self._edges.load(restored["links"])
        self._written = None
        self.has_forgotten = forgotten

    def _tree(self) -> dict[str, Any]:
        return {"blocks": self.states, "links": self._edges.state()}

    def _leaves(self) -> dict[str, Tensor]:
        return to_tensors(self._tree())

    def _minibatches_on(self, device: torch.device) -> Minibatches:
        """Return the minibatches of the nodes on a device."""
        minibatches = self.settings.minibatches
        if device == self.settings.start.device:
            return minibatches
        assert isinstance(minibatches, RoundMinibatches)
        return minibatches.on(device)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the blocks' parts one after another, on the first device."""
        return torch.cat([part.to(self.settings.start.device) for part in parts])

    def _outer_edges(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the directed edges to and from other nodes, each with its sender."""
        here = set(self._indices)
        outgoing, incoming = {}, {}
        for block in self._blocks:
            nodes, others, outward, inward, exists = (
                tensor.cpu()
                for tensor in (block.nodes, block.view.neighbor, block.out_edge, block.in_edge, block.view.exists)
            )
            for row, slot in exists.nonzero().tolist():
                if (other := int(others[row, slot])) not in here:
                    outgoing[int(outward[row, slot])] = int(nodes[row])
                    incoming[int(inward[row, slot])] = other
        return outgoing, incoming

    def _local_steps_of(self, index: int, rows: slice, first: int, phases: Sequence[Phase], drawn: Drawn) -> StepInfo:
        """Run a round's local steps in one block; return each node's means over them, ``[n]``.

        Args:
            index: the block.
            rows: its nodes' places among those on its device.
            first: the round's first local step.
            phases: of the steps.
            drawn: what the nodes on its device read in them.
        """
        block, stack = self._blocks[index], self._stacks[index]
        state = stack.state
        infos: list[StepInfo] = []
        for step, phase in enumerate(phases):
            scale = block.view.sign.new_full((len(block.nodes),), self.settings.lr_scale(first + step))
            state, info = self._step_in(phase)(state, block.view, Step(*drawn(step, rows), scale))
            infos.append(info)
        stack.replace(state)
        return StepInfo(*(torch.stack(values).mean(0) for values in zip(*infos, strict=True)))
