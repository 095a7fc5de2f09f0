"""The nodes that a client hosts, between two of the server's messages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from flwr.app import Array
from torch import Tensor

from ngpd_fl.engines import NO_MESSAGES, NodeGroup, OutgoingMessages
from ngpd_fl.flower.messages import NodeMessages
from ngpd_fl.records import Evaluation
from ngpd_fl.training import Job
from strategies import StepInfo


class NodeHost:
    """A group of nodes and its progress.

    Attributes:
        job: the run.
        group: the nodes.
        worked: the last round whose local steps were run; -1 if none.
        read: the last round whose messages were read; -1 if none.
    """

    def __init__(self, job: Job, nodes: Sequence[int]) -> None:
        """Put the nodes at the common start."""
        self.job = job
        self.group = NodeGroup(job.engine_settings, nodes)
        self.worked = self.read = -1

    def catch_up(self, number: int, messages: NodeMessages) -> None:
        """Read the messages of the last round whose steps were run; ``messages`` are of round ``number``.

        If these are different rounds, the messages of the former never arrived: they are lost. So are messages that
        no honest client sends.
        """
        if self.read < self.worked:
            arrived = from_wire(messages) if number == self.worked else NO_MESSAGES
            self.group.read(self.worked, self.group.readable(self.worked, arrived))
            self.read = self.worked

    def work(self, number: int) -> tuple[StepInfo, NodeMessages]:
        """Run the local steps of round ``number``; return their results and the messages for nodes elsewhere."""
        if self.worked < 0 < number:  # the round that would have estimated the curvature first was missed
            self.group.has_forgotten = True
        work = self.group.work(number)
        messages = to_wire(self.group.write(number), self.job.config.strategy.needs.per_edge)
        self.worked = number
        return work, messages

    def evaluate(self) -> Evaluation:
        """Evaluate every node's model; nodes in the order of the group."""
        return self.job.evaluate(self.group.params(), self.group.nodes.tolist(), average=False)

    def models(self) -> dict[str, Array]:
        """Return every node's parameters by name, e.g. ``node3/0.weight``."""
        return {
            f"node{node}/{name}": Array(value.detach().cpu().numpy())
            for node, params in zip(self.group.nodes.tolist(), self.group.params().detach().cpu(), strict=True)
            for name, value in self.job.model.state_dict(params).items()
        }


def to_wire(messages: OutgoingMessages, per_edge: Sequence[str]) -> NodeMessages:
    """Return messages in Flower's form."""
    payload = {
        f"{'edge' if field in per_edge else 'node'}/{field}/{source}": Array(value.detach().numpy())
        for field, values in messages.payload.items()
        for source, value in values.items()
    }
    return NodeMessages(payload, messages.headers)


def from_wire(messages: NodeMessages) -> OutgoingMessages:
    """Return messages from elsewhere in the form that a group of nodes reads, without arrays that cannot be read."""
    payload: dict[str, dict[int, Tensor]] = {}
    for name, value in messages.payload.items():
        with suppress(Exception):  # NumPy's reader fails in many ways on what is no array
            _, field, source = name.split("/")
            payload.setdefault(field, {})[int(source)] = torch.from_numpy(value.numpy())
    return OutgoingMessages(payload, messages.headers)
