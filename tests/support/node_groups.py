"""A network whose nodes are split among several crews that send each other parcels, as clients do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor

from ngpd_fl.engines import NodeGroup, OutgoingMessages
from topologies import Topology

Outage = Callable[[int], Collection[int]]
"""round -> crews that take no part in it: they neither compute nor send nor receive."""


class CrewNetwork:
    """Runs one algorithm on a whole network; made and asked as ``SynchronousEngine`` is.

    With ``forgetful`` every crew is made anew before each call and gets its state back, as a client whose process does
    not outlive a message.
    """

    def __init__(
        self,
        strategy: Any,
        topology: Topology,
        feed: Any,
        start: Tensor,
        *,
        groups: Sequence[Sequence[int]],
        forgetful: bool = False,
        outage: Outage = lambda number: (),
        message_loss: float = 0.0,
        **settings: Any,
    ) -> None:
        self.round = 0
        self.start = start
        self.per_edge = strategy.options.needs.per_edge
        self.ends = [end for low, high in topology.edges.tolist() for end in (high, low)]
        self.home = {node: number for number, group in enumerate(groups) for node in group}
        self.forgetful = forgetful
        self.outage = outage
        self.delivers = NodeGroup(strategy, topology, feed, start, message_loss=message_loss, **settings)._links.open

        def make(number: int) -> NodeGroup:
            return NodeGroup(
                strategy, topology, feed, start, message_loss=message_loss, nodes=groups[number], **settings
            )

        self.make = make
        self.crews = [make(number) for number in range(len(groups))]

    def run_round(self) -> None:
        """Take K local steps at every node, exchange once."""
        down = self.outage(self.round)
        up = [number for number in range(len(self.crews)) if number not in down]
        parcels = {}
        for number in up:
            self.crew(number).work(self.round)
            parcels[number] = self.crew(number).write(self.round)
        arrives = self.delivers(self.round).delivered
        for number in up:
            letters: dict[str, dict[int, Tensor]] = {}
            slips = {}
            for parcel in parcels.values():
                for edge, slip in parcel.slips.items():
                    if self.home[self.ends[edge]] == number and arrives[edge]:
                        slips[edge] = slip
                        for field, values in parcel.letters.items():
                            source = edge if field in self.per_edge else self.ends[edge ^ 1]
                            letters.setdefault(field, {})[source] = values[source]
            self.crew(number).read(self.round, OutgoingMessages(letters, slips))
        self.round += 1

    def crew(self, number: int) -> NodeGroup:
        """The crew, made anew if it forgets."""
        if self.forgetful:
            state = {name: leaf.clone() for name, leaf in self.crews[number].state().items()}
            self.crews[number] = self.make(number)
            self.crews[number].load(state)
        return self.crews[number]

    def params(self) -> Tensor:
        """Every node's parameters, ``[N, P]``."""
        params = self.start.new_empty((len(self.home), self.start.numel()))
        for crew in self.crews:
            params[crew.nodes] = crew.params()
        return params
