"""The in-process engine: all nodes stacked, each algorithm's per-node functions batched by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ngpd_fl.engines.minibatches import Feed
from ngpd_fl.engines.node_group import NodeGroup
from strategies import Strategy
from topologies import Topology


class RoundInfo(NamedTuple):
    """What a round gave.

    Attributes:
        loss: mean training loss over nodes and local steps, float ``[]``.
        shrink: mean factor of the trust region, float ``[]``; 1 where nothing was shortened.
        node_steps: local steps, summed over nodes.
        bytes_sent: payload of all messages, lost ones included.
    """

    loss: Tensor
    shrink: Tensor
    node_steps: int
    bytes_sent: int


class SynchronousEngine:
    """Runs one algorithm on a whole network, round by round: a crew of all nodes.

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
        """Put every node at ``start``; the arguments are those of ``NodeGroup``."""
        self.round = 0
        self.num_nodes = topology.num_nodes
        self._local_steps = local_steps
        self._crew = NodeGroup(
            strategy,
            topology,
            feed,
            start,
            local_steps=local_steps,
            seed=seed,
            message_loss=message_loss,
            lr_scale=lr_scale,
            chunk_size=chunk_size,
        )

    def run_round(self) -> RoundInfo:
        """Take K local steps at every node, exchange once, and return what it gave."""
        work = self._crew.work(self.round)
        node_steps = self._local_steps * self.num_nodes
        self._crew.write(self.round)
        bytes_sent = self._crew.read(self.round)
        self.round += 1
        return RoundInfo(work.loss.mean(), work.shrink.mean(), node_steps, bytes_sent)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the rounds to come depend on: tensors by name, and the rest as JSON holds it."""
        return self._crew.state(), {"round": self.round}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        self._crew.load(tensors)
        self.round = values["round"]

    def params(self) -> Tensor:
        """Return every node's parameters as evaluation sees them, ``[N, P]``."""
        stacked = self._crew.params()
        params = stacked.new_empty(stacked.shape)
        params[self._crew.nodes] = stacked
        return params
