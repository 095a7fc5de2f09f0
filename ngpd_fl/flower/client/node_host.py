"""The nodes that a client hosts, between two of the server's messages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from flwr.app import Array
from torch import Tensor

from ngpd_fl.engines import NOTHING, EdgeHeader, NodeGroup, OutgoingMessages
from ngpd_fl.flower.messages import Mail
from ngpd_fl.records import Evaluation
from ngpd_fl.training import Job
from strategies import StepInfo


class Host:
    """A crew and where it is.

    Attributes:
        job: what the crew was made from.
        crew: the nodes.
        worked: the last round whose local steps were taken; -1: none.
        read: the last round whose messages were taken in.
    """

    def __init__(self, job: Job, nodes: Sequence[int]) -> None:
        """Put the nodes at the common start."""
        self.job = job
        self.crew = NodeGroup(job.engine_settings, nodes)
        self.worked = self.read = -1

    def catch_up(self, number: int, mail: Mail) -> None:
        """Take in the messages of the last round that was worked; ``mail`` is of round ``number``.

        Where that is another one, those of the round in question never came: they are lost.
        """
        if self.read < self.worked:
            self.crew.read(self.worked, from_wire(mail) if number == self.worked else NOTHING)
            self.read = self.worked

    def work(self, number: int) -> tuple[StepInfo, Mail]:
        """Take the local steps of round ``number``; return what they gave and what leaves for nodes elsewhere."""
        if self.worked < 0 < number:  # the round that would have estimated the curvature first was missed
            self.crew.has_forgotten = True
        work = self.crew.work(number)
        mail = to_wire(self.crew.write(number), self.job.config.strategy.needs.per_edge)
        self.worked = number
        return work, mail

    def evaluate(self) -> Evaluation:
        """Evaluate every node's model; nodes in the crew's order."""
        return self.job.evaluate(self.crew.params(), self.crew.nodes.tolist(), average=False)

    def models(self) -> dict[str, Array]:
        """Return every node's parameters by name, e.g. ``node3/0.weight``."""
        return {
            f"node{node}/{name}": Array(value.detach().cpu().numpy())
            for node, params in zip(self.crew.nodes.tolist(), self.crew.params().detach().cpu(), strict=True)
            for name, value in self.job.model.state_dict(params).items()
        }


def to_wire(parcel: OutgoingMessages, per_edge: Sequence[str]) -> Mail:
    """Return a parcel as Flower carries it."""
    letters = {
        f"{'edge' if field in per_edge else 'node'}/{field}/{source}": Array(value.detach().numpy())
        for field, values in parcel.payload.items()
        for source, value in values.items()
    }
    return Mail(letters, {str(edge): list(slip) for edge, slip in parcel.headers.items()})


def from_wire(mail: Mail) -> OutgoingMessages:
    """Return what came from elsewhere as the crew reads it."""
    letters: dict[str, dict[int, Tensor]] = {}
    for name, value in mail.letters.items():
        _, field, source = name.split("/")
        letters.setdefault(field, {})[int(source)] = torch.from_numpy(value.numpy())
    return OutgoingMessages(letters, {int(edge): EdgeHeader(*slip) for edge, slip in mail.slips.items()})
