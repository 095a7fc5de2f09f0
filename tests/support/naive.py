"""The naive engine: a plain loop over nodes and their neighbors, against which every other engine is held.

It shares no code with ``ngpd_fl.engines`` but the settings: each node's view is read off the networkx graph, slots are
the neighbors in ascending order without padding, messages lie in a dictionary by (sender, receiver), and the fate of
every message is kept in a list. Tensors have no node axis. Parts of it are methods of their own so that a test can
observe a run, or get it wrong on purpose.
"""

from __future__ import annotations

from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.engines import EngineSettings
from strategies import Headers, Phase, RoundView, Step, Strategy, View
from topologies import Topology

Pair = tuple[int, int]
"""(sender, receiver)."""


class NaiveNetwork:
    """Runs one algorithm on a whole network; made and used as ``SynchronousEngine`` is.

    Attributes:
        round: rounds done.
        states: each node's state.
        neighbors: each node's neighbors, ascending: the order of its slots.
        fates: for every pair, whether each message sent so far was applied.
        bytes_sent: payload of all messages, lost ones included.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.round = 0
        self.bytes_sent = 0
        self.settings = settings
        self.strategy: Strategy = settings.strategy
        self.topology: Topology = settings.topology
        self.start: Tensor = settings.start
        self.local_steps = settings.local_steps
        graph: nx.Graph = self.topology.graph
        self.nodes = sorted(graph.nodes)
        self.neighbors = {node: sorted(graph.neighbors(node)) for node in self.nodes}
        self.fates: dict[Pair, list[bool]] = {(i, j): [] for i in self.nodes for j in self.neighbors[i]}
        self.views = {node: self.view(node) for node in self.nodes}
        self.states = {node: self.strategy.init(self.start, self.views[node]) for node in self.nodes}

    def params(self) -> Tensor:
        """Every node's parameters, ``[N, P]``."""
        return torch.stack([self.strategy.estimate(self.states[node]) for node in self.nodes])

    def run_round(self) -> None:
        """Take K local steps at every node, then let all exchange at once."""
        for node in self.nodes:
            for step in range(self.round * self.local_steps, (self.round + 1) * self.local_steps):
                self.local_step(node, step)
        sends, arrives = self.sends(), self.arrives()
        round_views = {node: self.round_view(node, sends) for node in self.nodes}
        mail: dict[Pair, Any] = {}
        messages: dict[int, Any] = {}
        for node in self.nodes:
            message = self.strategy.outgoing(self.states[node], self.views[node], round_views[node])
            messages[node] = message
            for slot, other in enumerate(self.neighbors[node]):
                if (node, other) in sends:
                    mail[node, other] = self.addressed(message, slot)
                    real = {"float16": 2, "bfloat16": 2, "float32": 4}.get(self.strategy.options.message_dtype or "")
                    self.bytes_sent += sum(
                        part.numel() * (real if real and part.is_floating_point() else part.element_size())
                        for part in mail[node, other].values()
                    )
        states = {}
        for node in self.nodes:
            arrived = {j: mail[j, node] for j in self.neighbors[node] if (j, node) in arrives}
            states[node] = self.incoming(node, round_views[node], arrived, messages[node], self.headers(node, arrives))
        self.states = states
        for pair in sends:
            self.fates[pair].append(pair in arrives)
        self.round += 1

    def lr_scale(self, step: int) -> float:
        """The factor on the step size."""
        return self.settings.lr_scale(step)

    def local_step(self, node: int, step: int, phase: Phase | None = None) -> None:
        """Take one local step at one node, in the strategy's phase if no other is given."""
        phase = phase or self.strategy.phase(step)
        batch, draws = tree_map(lambda leaf: leaf[0], self.settings.minibatches(torch.tensor([node]), [step], phase))
        inputs = Step(batch, draws, self.start.new_tensor(self.lr_scale(step)))
        self.states[node], _ = self.strategy.local_step(self.states[node], self.local_view(node), inputs, phase)

    def incoming(
        self, node: int, round_view: RoundView, arrived: dict[int, dict[str, Tensor]], outbox: Any, headers: Headers
    ) -> Any:
        """Hand one node what arrived, by sender; return its new state."""
        example = next(iter(arrived.values()), self.addressed(outbox, 0))
        inbox = {}
        for name, like in example.items():
            slots = [arrived[j][name] if j in arrived else torch.zeros_like(like) for j in self.neighbors[node]]
            inbox[name] = torch.stack(slots)
        message = type(outbox)(**inbox)
        return self.strategy.incoming(self.states[node], self.views[node], round_view, message, outbox, headers)

    def addressed(self, message: Any, slot: int) -> dict[str, Tensor]:
        """What one neighbor gets of a message."""
        per_edge = self.strategy.options.needs.per_edge
        return {name: value[slot] if name in per_edge else value for name, value in message._asdict().items()}

    def view(self, node: int) -> View:
        """What a node knows of the union graph."""
        neighbors = self.neighbors[node]
        etas = [
            self.strategy.edge_penalty(len(neighbors), len(self.neighbors[other]), self.local_steps)
            for other in neighbors
        ]
        return View(
            node=torch.tensor(node),
            num_nodes=torch.tensor(len(self.nodes)),
            exists=torch.ones(len(neighbors), dtype=torch.bool),
            neighbor=torch.tensor(neighbors),
            reverse=torch.tensor([self.neighbors[other].index(node) for other in neighbors]),
            sign=self.start.new_tensor([1.0 if node < other else -1.0 for other in neighbors]),
            edge_penalty=self.start.new_tensor(etas),
        )

    def local_view(self, node: int) -> View:
        """The view that local steps get."""
        return self.views[node]

    def round_view(self, node: int, sends: set[Pair]) -> RoundView:
        """What a node knows of this round; W is read off the whole matrix."""
        weights = self.start.new_tensor(self.topology.weights(self.round).matrix().toarray().tolist())
        neighbors = self.neighbors[node]
        return RoundView(
            round=torch.tensor(self.round),
            sends=torch.tensor([(node, other) in sends for other in neighbors]),
            receives=torch.tensor([(other, node) in sends for other in neighbors]),
            weight_own=weights[node, node],
            weight_in=torch.stack([weights[node, other] for other in neighbors]),
            weight_out=torch.stack([weights[other, node] for other in neighbors]),
        )

    def sends(self) -> set[Pair]:
        """Pairs that send in this round: both directions of every active edge, or the one that a directed one has."""
        sent = self.topology.sent(self.round).reshape(-1, 2).tolist()
        pairs = set()
        for (i, j), (forth, back) in zip(self.topology.edges.tolist(), sent, strict=True):
            pairs |= {(i, j)} if forth else set()
            pairs |= {(j, i)} if back else set()
        return pairs

    def arrives(self) -> set[Pair]:
        """Pairs whose message of this round arrives: edge e = (i, j) has draw 2 e for i to j and 2 e + 1 back."""
        edges = self.topology.edges.tolist()
        draws = generator(self.settings.seed, Purpose.LOSS, step=self.round).random(2 * len(edges))
        kept = (draws >= self.settings.message_loss).tolist()
        pairs = {
            pair: kept[2 * e + side] for e, (i, j) in enumerate(edges) for side, pair in enumerate([(i, j), (j, i)])
        }
        return {pair for pair in self.sends() if pairs[pair]}

    def headers(self, node: int, arrives: set[Pair]) -> Headers:
        """What accompanies the messages to a node: bit k tells the fate of its (k+1)-th last message to the sender."""
        neighbors = self.neighbors[node]
        bitmaps = [
            sum(1 << k for k, applied in enumerate(reversed(self.fates[node, other][-63:])) if applied)
            for other in neighbors
        ]
        return Headers(
            received=torch.tensor([(other, node) in arrives for other in neighbors]),
            applied=torch.tensor(bitmaps, dtype=torch.int64),
            age=torch.zeros(len(neighbors), dtype=torch.int64),
            reset=torch.zeros(len(neighbors), dtype=torch.bool),
        )
