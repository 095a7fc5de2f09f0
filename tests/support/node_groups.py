"""A network whose nodes are split among several groups that send each other messages, as clients do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.core.message_loss import traffic
from ngpd_fl.engines import EngineSettings, NodeGroup, OutgoingMessages

Outage = Callable[[int], Collection[int]]
"""round -> groups that take no part in it: they neither compute nor send nor receive."""


class GroupNetwork:
    """Runs one algorithm on a whole network; made and asked as ``SynchronousEngine`` is.

    With ``forgetful`` every group is made anew before each call and gets its state back, as a client whose process does
    not outlive a message.
    """

    def __init__(
        self,
        settings: EngineSettings,
        members: Sequence[Sequence[int]],
        forgetful: bool = False,
        outage: Outage = lambda number: (),
    ) -> None:
        self.round = 0
        self.settings = settings
        self.members = members
        self.per_edge = settings.strategy.options.needs.per_edge
        self.ends = [end for low, high in settings.topology.edges.tolist() for end in (high, low)]
        self.home = {node: number for number, nodes in enumerate(members) for node in nodes}
        self.forgetful = forgetful
        self.outage = outage
        self.groups = [NodeGroup(settings, nodes) for nodes in members]

    def run_round(self) -> None:
        """Take K local steps at every node, exchange once."""
        down = self.outage(self.round)
        up = [number for number in range(len(self.groups)) if number not in down]
        sent = {}
        for number in up:
            self.group(number).work(self.round)
            sent[number] = self.group(number).write(self.round)
        arrives = self.arrives()
        for number in up:
            payload: dict[str, dict[int, Tensor]] = {}
            headers = {}
            for messages in sent.values():
                for edge, header in messages.headers.items():
                    if self.home[self.ends[edge]] == number and arrives[edge]:
                        headers[edge] = header
                        for field, values in messages.payload.items():
                            source = edge if field in self.per_edge else self.ends[edge ^ 1]
                            payload.setdefault(field, {})[source] = values[source]
            self.group(number).read(self.round, OutgoingMessages(payload, headers))
        self.round += 1

    def arrives(self) -> NDArray[np.bool_]:
        """Directed edges whose message of this round is not lost, bool ``[2 E]``."""
        settings = self.settings
        return traffic(settings.topology, settings.message_loss, settings.seed, self.round).delivered

    def group(self, number: int) -> NodeGroup:
        """The group, made anew if it forgets."""
        if self.forgetful:
            state = {name: leaf.clone() for name, leaf in self.groups[number].state().items()}
            self.groups[number] = NodeGroup(self.settings, self.members[number])
            self.groups[number].load(state)
        return self.groups[number]

    def params(self) -> Tensor:
        """Every node's parameters, ``[N, P]``."""
        start = self.settings.start
        params = start.new_empty((len(self.home), start.numel()))
        for group in self.groups:
            params[group.nodes] = group.params()
        return params
