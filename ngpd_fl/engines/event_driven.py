"""The event-driven engine: nodes in rounds of their own, computed as a timeline of events says.

Events whose inputs are there are computed together, stacked: each gets a level, one above the highest of what it needs,
and level by level all works and all reads of a level are one batch. Times never depend on what is computed, so that a
timeline can be played before anything is, or read from a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ngpd_fl.clock import Drop, Event, Read, Work, from_json, to_json
from ngpd_fl.engines.blocks import Block, make_blocks
from ngpd_fl.engines.crew import REFRESH, Feed, default_chunk_size
from ngpd_fl.engines.example import example_message, message_bytes
from ngpd_fl.engines.graphs import Graphs
from ngpd_fl.engines.levels import levels_of
from ngpd_fl.engines.post import Key, Post
from ngpd_fl.engines.receipts import Receipts
from ngpd_fl.engines.rows import apart, rows_of, with_rows
from ngpd_fl.engines.snapshot import from_tensors, to_tensors
from ngpd_fl.engines.vectorised import RoundInfo
from ngpd_fl.faults import Tampering
from ngpd_fl.stacking import over_nodes
from strategies import Headers, Phase, RoundView, Step, StepInfo, Strategy
from strategies.contract import Message, State
from topologies import Topology


class Events(Protocol):
    """Where events come from, such as a ``Timeline``."""

    def advance(self) -> Iterable[Event]:
        """Return the events of the network's next round."""
        ...


class _Place(NamedTuple):
    """Where a node is: its block, and its row there."""

    block: int
    row: int


class EventEngine:
    """Runs one algorithm on a whole network, one round of the network after another.

    Attributes:
        round: rounds of the network done: N rounds of nodes each.
        num_nodes: N.
        refused: messages that their receivers have refused.
    """

    def __init__(
        self,
        strategy: Strategy,
        topology: Topology,
        feed: Feed,
        start: Tensor,
        *,
        events: Events,
        rounds: int,
        local_steps: int,
        lr_scale: Callable[[int], float] = lambda step: 1.0,
        chunk_size: int | None = None,
        tampering: Tampering | None = None,
    ) -> None:
        """Put every node at ``start``.

        Args:
            strategy: the algorithm.
            topology: the graph and its schedule; a node in its round r has the graph of round r.
            feed: batches and draws.
            start: parameters ``[P]``; their dtype and device are the engine's.
            events: what happens.
            rounds: rounds that a node is meant to do; lr stays where it is in the last one for a node that does more.
            local_steps: K.
            lr_scale: local step -> factor on lr.
            chunk_size: nodes computed at once; none: as many as stay in a CPU's cache, on other devices all.
            tampering: what nodes make of what they send and refuse of what they get; none: nothing.
        """
        self.round = 0
        self.refused = 0
        self.num_nodes = topology.num_nodes
        self._strategy = strategy
        self._feed = feed
        self._start = start
        self._events = events
        self._last_step = rounds * local_steps - 1
        self._local_steps = local_steps
        self._lr_scale = lr_scale
        self._tampering = tampering
        self._last_work: dict[int, Work] = {}  # by node, where there is tampering

        def edge_penalty(degree: int, neighbour_degree: int) -> float:
            return strategy.edge_penalty(degree, neighbour_degree, local_steps)

        chunk_size = chunk_size or default_chunk_size(start)
        self._blocks = make_blocks(topology, edge_penalty, chunk_size, start.dtype, start.device)
        self._places = {
            node: _Place(number, row)
            for number, block in enumerate(self._blocks)
            for row, node in enumerate(block.nodes.tolist())
        }
        self._slots = {
            edge: slot
            for block in self._blocks
            for edges in block.out_edge.tolist()
            for slot, edge in enumerate(edges)
            if edge < 2 * len(topology.edges)
        }
        self._states: list[State] = [
            over_nodes(strategy.init)(start.expand(len(block.nodes), -1), block.view) for block in self._blocks
        ]
        self._is_apart = [False] * len(self._blocks)
        self._ended: dict[int, Tensor] = {}  # of nodes that are between sending and reading: as their last round ended
        self._graphs = Graphs(topology, start.dtype, start.device)
        self._receipts = Receipts(len(topology.edges))
        self._message_bytes = sum(message_bytes(strategy, start).values())
        self._post = Post(strategy.options.spec.per_edge, example_message(strategy, start))

    def run_round(self) -> RoundInfo:
        """Compute what happens in the network's next round, and return what it gave; nan where nobody took a step."""
        events = list(self._events.advance())
        dropped = {(e.edge, e.sequence) for e in events if isinstance(e, Drop) and e.why != "duplicate"}
        for key in dropped:
            if key in self._post:
                self._forget(key)
        last = {event.node: event for event in events if isinstance(event, Work | Read)}
        infos: list[StepInfo] = []
        sent = 0
        for works, reads in levels_of(events):
            for number, works_here in self._by_block(works):
                self._note_ended(number, [work for work in works_here if last[work.node] is work])
                infos += self._work(number, works_here)
                self._send(number, works_here, dropped)
                sent += sum(len(work.sends) for work in works_here)
            for number, reads_here in self._by_block(reads):
                self._read(number, reads_here)
        self.round += 1
        of_steps = torch.cat([torch.stack(tuple(info)) for info in infos] or [self._start.new_empty(2, 0)], dim=1)
        loss, shrink = of_steps.mean(1)
        return RoundInfo(loss, shrink, of_steps.shape[1], sent * self._message_bytes)

    def params(self) -> Tensor:
        """Return the parameters ``[N, P]`` with which every node ended its last round, as evaluation sees them."""
        params = self._start.new_empty((self.num_nodes, len(self._start)))
        for block, state in zip(self._blocks, self._states, strict=True):
            params[block.nodes] = over_nodes(self._strategy.estimate)(state)
        for node, ended in self._ended.items():
            params[node] = ended
        return params

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the rounds to come depend on but the events: tensors by name, and the rest for JSON."""
        letters, keys = self._post.state()
        tensors = {**to_tensors(self._states), **{f"post.{name}": value for name, value in letters.items()}}
        tensors |= {f"ended.{node}": value for node, value in self._ended.items()}
        works = [to_json(work) for work in self._last_work.values()]
        values = {"round": self.round, "refused": self.refused, "works": works}
        return tensors, {**values, "receipts": self._receipts.state(), "post": keys}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        letters = {name.removeprefix("post."): value for name, value in tensors.items() if name.startswith("post.")}
        ended = {name.removeprefix("ended."): value for name, value in tensors.items() if name.startswith("ended.")}
        own = {name: value for name, value in tensors.items() if not name.startswith(("post.", "ended."))}
        self._states = from_tensors(self._states, own)
        self._receipts.load(values["receipts"])
        self._post.load({name: value.to(self._start.device) for name, value in letters.items()}, values["post"])
        self._ended = {int(node): value.to(self._start.device) for node, value in ended.items()}
        self.round, self.refused = values["round"], values["refused"]
        works = [work for work in map(from_json, values["works"]) if isinstance(work, Work)]
        self._last_work = {work.node: work for work in works}

    def _by_block(self, events: Sequence[_Act]) -> Iterator[tuple[int, list[_Act]]]:
        """Yield each block's events, in the order of its rows."""
        found: dict[int, list[_Act]] = defaultdict(list)
        for event in events:
            found[self._places[event.node].block].append(event)
        for number, here in sorted(found.items()):
            yield number, sorted(here, key=lambda event: self._places[event.node].row)

    def _note_ended(self, number: int, works: Sequence[Work]) -> None:
        """Note how nodes of one block are before their local steps, whose round does not end yet."""
        if works:
            rows, _ = self._rows(number, works)
            ended = over_nodes(self._strategy.estimate)(self._gather(number, rows)).clone()
            self._ended |= {work.node: params for work, params in zip(works, ended, strict=True)}

    def _work(self, number: int, works: Sequence[Work]) -> list[StepInfo]:
        """Take the local steps of nodes of one block; return what each group of steps reports."""
        rows, block = self._rows(number, works)
        state, infos = self._gather(number, rows), []
        for step in range(self._local_steps):
            steps = [work.round * self._local_steps + step for work in works]
            alike: dict[Phase, list[int]] = defaultdict(list)
            for row, (work, own_step) in enumerate(zip(works, steps, strict=True)):
                alike[REFRESH if work.renew and step == 0 else self._strategy.phase(own_step)].append(row)
            for phase, group in alike.items():
                if len(group) == len(works):
                    state, info = self._step(state, block, steps, phase)
                else:
                    some = torch.tensor(group, device=self._start.device)
                    here = [steps[row] for row in group]
                    state_here, info = self._step(rows_of(state, some), rows_of(block, some), here, phase)
                    state = tree_map(partial(with_rows, rows=some), state, state_here)
                infos.append(info)
        self._scatter(number, rows, state)
        return infos

    def _step(self, state: State, block: Block, steps: Sequence[int], phase: Phase) -> tuple[State, StepInfo]:
        """Take one local step of nodes that are in the same phase, each in its own of ``steps``."""
        batch, draws = self._feed(block.nodes, steps, phase)
        scales = [self._lr_scale(min(step, self._last_step)) for step in steps]
        take = over_nodes(partial(self._strategy.local_step, phase=phase))
        found: tuple[State, StepInfo] = take(state, block.view, Step(batch, draws, self._start.new_tensor(scales)))
        return found

    def _send(self, number: int, works: Sequence[Work], dropped: set[Key]) -> None:
        """Put what nodes of one block send into the post, but for what nobody is going to take."""
        rows, block = self._rows(number, works)
        outbox = self._outbox(block, self._gather(number, rows), self._graphs.views(block, works))
        if self._tampering is not None:
            self._last_work.update((work.node, work) for work in works)
            outbox = self._tampering.sent(outbox, works)
        kept = []
        for row, work in enumerate(works):
            for key in work.sends:
                self._receipts.write(key)
                if key in dropped:
                    self._receipts.forget(key)
                else:
                    kept.append((row, self._slots[key[0]], key))
        self._post.put(outbox, kept)

    def _read(self, number: int, reads: Sequence[Read]) -> None:
        """Let nodes of one block take in what the post has for them."""
        rows, block = self._rows(number, reads)
        state, views = self._gather(number, rows), self._graphs.views(block, reads)
        outbox = self._outbox(block, state, views)
        refused: set[Key] = set()
        if self._tampering is not None:
            outbox = self._tampering.believed(outbox, [self._last_work[read.node] for read in reads])
            refused = self._refused(block, reads, outbox, self._tampering)
        keys, headers = self._headers(block, reads, views.sends, refused)
        state = over_nodes(self._strategy.incoming)(state, block.view, views, self._post.take(keys), outbox, headers)
        self._scatter(number, rows, state)
        for read in reads:
            self._ended.pop(read.node, None)
            for taken in read.taken:
                key = taken.edge, taken.sequence
                if key not in refused:
                    self._receipts.take(key)
                self._forget(key)
        self.refused += len(refused)

    def _outbox(self, block: Block, state: State, views: RoundView) -> Message:
        return over_nodes(self._strategy.outgoing)(state, block.view, views)

    def _refused(self, block: Block, reads: Sequence[Read], outbox: Message, tampering: Tampering) -> set[Key]:
        """Return which of the messages that have come their receivers refuse."""
        keys = self._keys(block, reads)
        accepted = tampering.accepted(self._post.take(keys), outbox).tolist()
        return {
            key
            for row, row_accepted in zip(keys, accepted, strict=True)
            for key, is_accepted in zip(row, row_accepted, strict=True)
            if key is not None and not is_accepted
        }

    def _keys(self, block: Block, reads: Sequence[Read], refused: Set[Key] = frozenset()) -> list[list[Key | None]]:
        """Return for every slot the message that is taken in on it."""
        keys: list[list[Key | None]] = [[None] * block.in_edge.shape[1] for _ in reads]
        for row, read in enumerate(reads):
            for taken in read.taken:
                if (key := (taken.edge, taken.sequence)) not in refused:
                    keys[row][self._slots[taken.edge ^ 1]] = key
        return keys

    def _headers(
        self, block: Block, reads: Sequence[Read], sends: Tensor, refused: Set[Key]
    ) -> tuple[list[list[Key | None]], Headers]:
        """Return for every slot the message that is taken in on it, and the headers; refused ones never came."""
        shape = block.in_edge.shape
        keys = self._keys(block, reads, refused)
        applied, age = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        received, sending = np.zeros(shape, dtype=bool), sends.tolist()
        for row, read in enumerate(reads):
            for taken in read.taken:
                slot, key = self._slots[taken.edge ^ 1], (taken.edge, taken.sequence)
                if key in refused:
                    continue
                received[row, slot] = True
                applied[row, slot] = self._receipts.applied(key, sending[row][slot])
                age[row, slot] = taken.age
        device = self._start.device
        nobody = np.zeros(shape, dtype=bool)
        values = (received, applied, age, nobody)
        return keys, Headers(*(torch.as_tensor(each, device=device) for each in values))

    def _forget(self, key: Key) -> None:
        self._receipts.forget(key)
        self._post.forget(key)

    def _rows(self, number: int, events: Sequence[_Act]) -> tuple[Tensor | None, Block]:
        """Return which rows of a block events are about, None for all, and the block of these rows alone."""
        block = self._blocks[number]
        if len(events) == len(block.nodes):
            return None, block
        rows = torch.tensor([self._places[event.node].row for event in events], device=self._start.device)
        return rows, rows_of(block, rows)

    def _gather(self, number: int, rows: Tensor | None) -> State:
        return self._states[number] if rows is None else rows_of(self._states[number], rows)

    def _scatter(self, number: int, rows: Tensor | None, state: State) -> None:
        if rows is None:
            self._states[number], self._is_apart[number] = state, False
            return
        if not self._is_apart[number]:
            self._states[number], self._is_apart[number] = apart(self._states[number]), True
        tree_map(lambda leaf, new: leaf.index_copy_(0, rows, new), self._states[number], state)


_Act = TypeVar("_Act", Work, Read)
