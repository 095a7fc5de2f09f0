"""The event-driven engine: nodes in rounds of their own, computed from a timeline of events.

Events whose inputs are there are computed together, stacked: each gets a level, one above the highest of what it needs,
and level by level all works and all reads of a level are one batch. Times never depend on what is computed, so that a
timeline can be played before anything is, or read from a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.clock import Drop, Event, Read, Work
from ngpd_fl.engines.blocks import Block, make_blocks
from ngpd_fl.engines.engine import EngineSettings, RoundInfo
from ngpd_fl.engines.event_exchange import EventExchange
from ngpd_fl.engines.example import example_message, message_bytes
from ngpd_fl.engines.messages import InFlightMessages, Key
from ngpd_fl.engines.minibatches import draw
from ngpd_fl.engines.node_group import REFRESH
from ngpd_fl.engines.round_graphs import RoundViews
from ngpd_fl.engines.states import Rows, Selection, Stack, StateFunction, divide_into, from_tensors, rows_of, to_tensors
from ngpd_fl.faults import Tampering
from strategies import Phase, Step, StepInfo

_LEAF_BYTES = 8 << 20
"""Largest leaf of what a CPU computes at once: fresh memory much above this costs page faults."""


class Events(Protocol):
    """A source of events, such as a ``VirtualClock``."""

    def advance(self) -> Iterable[Event]:
        """Return the events of the network's next round."""
        ...

    def usage(self, message_bytes: Mapping[str, int], refused: int) -> dict[str, Any]:
        """Return what the events so far have used.

        Args:
            message_bytes: payload of one message, by field.
            refused: messages that their receivers have refused.
        """
        ...


class _Place(NamedTuple):
    """The place of a node: its block, and its row there."""

    block: int
    row: int


class EventEngine:
    """Runs one algorithm on a whole network, one round of the network after another.

    Attributes:
        round: rounds of the network done: N rounds of nodes each.
        num_nodes: N.
    """

    def __init__(self, settings: EngineSettings, events: Events, tampering: Tampering | None = None) -> None:
        """Put every node at its start.

        A node in its round r has the graph of round r. lr stays where it is in the last of ``settings.rounds`` for a
        node that does more. Messages are lost as the events define, whatever ``settings.message_loss``.

        Args:
            settings: the run.
            events: the source of events.
            tampering: what nodes make of what they send and refuse of what they get. Defaults to none.
        """
        strategy, topology, start = settings.strategy, settings.topology, settings.start
        self.round = 0
        self.num_nodes = topology.num_nodes
        self._settings = settings
        self._strategy = strategy
        self._start = start
        self._events = events
        self._local_steps = settings.local_steps
        self._last_step = settings.rounds * settings.local_steps - 1
        self._blocks = make_blocks(topology, settings.edge_penalty, settings.nodes_at_once, start)
        self._places = {
            node: _Place(number, row)
            for number, block in enumerate(self._blocks)
            for row, node in enumerate(block.nodes.tolist())
        }
        self._stacks = [Stack(settings.init(block)) for block in self._blocks]
        self._most = _most_at_once(self._stacks, start.device)
        self._step_in = lru_cache(None)(lambda phase: StateFunction(partial(strategy.local_step, phase=phase)))
        self._outgoing = StateFunction(lambda state, *views: (state, strategy.outgoing(state, *views)))
        self._incoming = StateFunction(lambda state, *exchange: (strategy.incoming(state, *exchange), ()))
        self._estimate = StateFunction(lambda state: (state, strategy.estimate(state)))
        self._ended: dict[int, Tensor] = {}  # of nodes that are between sending and reading: as their last round ended
        self._views = RoundViews(topology, self._blocks, start)
        self._message_bytes = message_bytes(strategy, start)
        in_flight = InFlightMessages(strategy.options.needs.per_edge, example_message(strategy, start))
        self._exchange = EventExchange(self._blocks, len(topology.edges), in_flight, tampering)

    def run_round(self) -> RoundInfo:
        """Compute what happens in the network's next round; loss and shrink are nan where no node took a step."""
        events = list(self._events.advance())
        dropped = {(e.edge, e.sequence) for e in events if isinstance(e, Drop) and e.why != "duplicate"}
        self._exchange.drop(dropped)
        last = {event.node: event for event in events if isinstance(event, Work | Read)}
        infos: list[StepInfo] = []
        sent = 0
        for works, reads in levels_of(events):
            for batches in self._at_once(self._batches(works, self._phases)):
                for work in batches:
                    self._note_ended(work, last)
                infos += chain.from_iterable(self._settings.workers.map(self._work, batches))
                for work in batches:
                    self._send(work, dropped)
                    work.states.put_back()
                    sent += sum(len(event.sends) for event in work.events)
            for of_reads in self._at_once(self._batches(reads)):
                messages = [self._take(read) for read in of_reads]
                self._settings.workers.map(self._read, of_reads, messages)
        self.round += 1
        of_steps = torch.cat([torch.stack(tuple(info)) for info in infos] or [self._start.new_empty(2, 0)], dim=1)
        loss, shrink = of_steps.mean(1)
        return RoundInfo(loss, shrink, of_steps.shape[1], sent * sum(self._message_bytes.values()))

    def usage(self) -> dict[str, Any]:
        """Return what the run has used by the virtual clock; see ``clock.Usage.record``."""
        return self._events.usage(self._message_bytes, self._exchange.refused)

    def params(self) -> Tensor:
        """Return the parameters ``[N, P]`` with which every node ended its last round, as evaluation sees them."""
        params = self._start.new_empty((self.num_nodes, len(self._start)))
        for block, stack in zip(self._blocks, self._stacks, strict=True):
            params[block.nodes] = stack.select(slice(None)).call(self._estimate)
        for node, ended in self._ended.items():
            params[node] = ended
        return params

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the rounds to come depend on but the events: tensors by name, and the rest for JSON."""
        payload, exchange = self._exchange.state()
        tensors = to_tensors([stack.state for stack in self._stacks])
        tensors |= {f"in_flight.{name}": value for name, value in payload.items()}
        tensors |= {f"ended.{node}": value for node, value in self._ended.items()}
        return tensors, {"round": self.round, "exchange": exchange}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        payload, ended = (
            {
                name.removeprefix(prefix): value.to(self._start.device)
                for name, value in tensors.items()
                if name.startswith(prefix)
            }
            for prefix in ("in_flight.", "ended.")
        )
        own = divide_into(
            [len(block.nodes) for block in self._blocks],
            {name: value for name, value in tensors.items() if not name.startswith(("in_flight.", "ended."))},
        )
        restored = from_tensors([stack.state for stack in self._stacks], own)
        for stack, state in zip(self._stacks, restored, strict=True):
            stack.replace(state)
        self._exchange.load(payload, values["exchange"])
        self._ended = {int(node): value for node, value in ended.items()}
        self.round = values["round"]

    def _at_once(self, batches: Iterable[_Batch[_Act]]) -> Iterator[list[_Batch[_Act]]]:
        """Yield as many batches as there are workers, so that no more states are copied at a time."""
        batches = iter(batches)
        while group := list(islice(batches, self._settings.workers.count)):
            yield group

    def _batches(
        self, events: Sequence[_Act], alike: Callable[[_Act], Hashable] = lambda event: None
    ) -> Iterator[_Batch[_Act]]:
        """Yield events that are computed at once: of one block, in the order of its rows, and ``alike``."""
        groups: dict[Hashable, list[_Act]] = defaultdict(list)
        for event in sorted(events, key=lambda event: self._places[event.node]):
            groups[self._places[event.node].block, alike(event)].append(event)
        for group in groups.values():
            for begin in range(0, len(group), self._most or len(group)):
                here = group[begin : begin + (self._most or len(group))]
                number = self._places[here[0].node].block
                rows = _as_rows([self._places[event.node].row for event in here], self._start.device)
                yield _Batch(here, rows_of(self._blocks[number], rows), self._stacks[number].select(rows))

    def _phases(self, work: Work) -> tuple[Phase, ...]:
        """Return the phases of a round's local steps."""
        first = work.round * self._local_steps
        phases = tuple(self._strategy.phase(step) for step in range(first, first + self._local_steps))
        return (REFRESH, *phases[1:]) if work.renew else phases

    def _note_ended(self, batch: _Batch[Work], last: Mapping[int, Event]) -> None:
        """Note how nodes whose round does not end yet are before its local steps; ``last``: nodes' last events."""
        rows = [row for row, work in enumerate(batch.events) if last[work.node] is work]
        if rows:
            ended = batch.states.call(self._estimate)
            self._ended |= {batch.events[row].node: ended[row].clone() for row in rows}

    def _work(self, batch: _Batch[Work]) -> list[StepInfo]:
        """Run local steps; return the report of each."""
        infos, phases = [], self._phases(batch.events[0])
        firsts = [work.round * self._local_steps for work in batch.events]
        scales = self._lr_scales(firsts)
        drawn = draw(self._settings.minibatches, [work.node for work in batch.events], firsts, phases)
        for step, phase in enumerate(phases):
            given = Step(*drawn(step, slice(None)), scales[step])
            infos.append(batch.states.call(self._step_in(phase), batch.block.view, given))
        return infos

    def _lr_scales(self, firsts: Sequence[int]) -> Tensor:
        """Return the factors on lr ``[K, n]`` of n nodes' rounds whose first local steps are given."""
        steps = ([min(first + step, self._last_step) for first in firsts] for step in range(self._local_steps))
        scales = np.array([[self._settings.lr_scale(step) for step in of_nodes] for of_nodes in steps])
        return torch.as_tensor(scales, dtype=self._start.dtype, device=self._start.device)

    def _send(self, batch: _Batch[Work], dropped: set[Key]) -> None:
        """Send the messages of nodes."""
        views = self._views.views(batch.events)
        self._exchange.send(batch.events, batch.states.call(self._outgoing, batch.block.view, views), dropped)

    def _take(self, batch: _Batch[Read]) -> tuple[Any, ...]:
        """Take the messages that have come for nodes; return what they know when they read them."""
        reads, block = batch.events, batch.block
        views = self._views.views(reads)
        sent = batch.states.call(self._outgoing, block.view, views)
        for read in reads:
            self._ended.pop(read.node, None)
        return views, *self._exchange.take(block, reads, views.sends, sent)

    def _read(self, batch: _Batch[Read], messages: tuple[Any, ...]) -> None:
        """Let nodes read the messages that have come for them."""
        batch.states.call(self._incoming, batch.block.view, *messages)
        batch.states.put_back()


_Act = TypeVar("_Act", Work, Read)


class _Batch(NamedTuple, Generic[_Act]):
    """Events that are computed at once, their nodes, and these nodes' states."""

    events: list[_Act]
    block: Block
    states: Selection


def levels_of(events: Iterable[Event]) -> Iterator[tuple[list[Work], list[Read]]]:
    """Yield works and reads level by level; what an event needs lies in a level before its own."""
    of_node: dict[int, int] = defaultdict(int)
    of_message: dict[Key, int] = {}
    levels: dict[int, tuple[list[Work], list[Read]]] = defaultdict(lambda: ([], []))
    for event in events:
        if isinstance(event, Work):
            level = of_node[event.node] = of_node[event.node] + 1
            of_message.update(dict.fromkeys(event.sends, level))
            levels[level][0].append(event)
        elif isinstance(event, Read):
            needed = (of_message.get((taken.edge, taken.sequence), 0) for taken in event.taken)
            level = of_node[event.node] = max(of_node[event.node], *needed, 0) + 1
            levels[level][1].append(event)
    for level in sorted(levels):
        yield levels[level]


def _as_rows(rows: list[int], device: torch.device) -> Rows:
    """Return ascending numbers as a range, if they are one."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return slice(rows[0], rows[-1] + 1)
    return torch.as_tensor(np.array(rows), device=device)


def _most_at_once(stacks: Sequence[Stack], device: torch.device) -> int | None:
    """Return how many nodes a CPU computes at once; None, all, on other devices."""
    return max(1, _LEAF_BYTES // max(stack.largest for stack in stacks)) if device.type == "cpu" else None
