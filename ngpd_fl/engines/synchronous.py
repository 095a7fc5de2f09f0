"""The in-process engine: all nodes stacked, each algorithm's per-node functions batched by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ngpd_fl.engines.engine import EngineSettings, RoundInfo
from ngpd_fl.engines.node_group import NodeGroup


class SynchronousEngine:
    """Runs one algorithm on a whole network, round by round: one group of all nodes.

    Attributes:
        round: rounds done.
        num_nodes: N.
        group: the nodes.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Put every node at the common start."""
        self.round = 0
        self.num_nodes = settings.topology.num_nodes
        self.group = NodeGroup(settings)
        self._local_steps = settings.local_steps

    def run_round(self) -> RoundInfo:
        """Run K local steps at every node, then exchange once."""
        steps = self.group.work(self.round)
        self.group.write(self.round)
        bytes_sent = self.group.read(self.round)
        self.round += 1
        return RoundInfo(steps.loss.mean(), steps.shrink.mean(), self._local_steps * self.num_nodes, bytes_sent)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the rounds to come depend on; see ``Engine``."""
        return self.group.state(), {"round": self.round}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; see ``Engine``."""
        self.group.load(tensors)
        self.round = values["round"]

    def params(self) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[N, P]``."""
        return self.group.params(in_order=True)

    def usage(self) -> dict[str, Any]:
        """Return nothing: rounds and bytes are all that is used."""
        return {}
