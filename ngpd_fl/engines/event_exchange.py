"""The exchange between nodes in rounds of their own: messages in flight, tampered with, refused or read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.clock import Read, Work, from_json, to_json
from ngpd_fl.core.directed_edges import EdgeHeader, reverse
from ngpd_fl.engines.acknowledgements import Acknowledgements, applied_before
from ngpd_fl.engines.blocks import Block
from ngpd_fl.engines.messages import InFlightMessages, Key
from ngpd_fl.faults import Tampering
from strategies import Headers
from strategies.contract import Message


class EventExchange:
    """Messages on their way, with what each sender had taken in when it wrote, and what receivers refuse.

    Attributes:
        refused: messages that their receivers have refused.
    """

    def __init__(
        self, blocks: Sequence[Block], num_edges: int, in_flight: InFlightMessages, tampering: Tampering | None
    ) -> None:
        """Start without messages.

        Args:
            blocks: the nodes.
            num_edges: E.
            in_flight: holds messages, none so far.
            tampering: what nodes make of what they send and refuse of what they get. Defaults to none.
        """
        self.refused = 0
        self._slots = {
            edge: slot
            for block in blocks
            for edges in block.out_edge.tolist()
            for slot, edge in enumerate(edges)
            if edge < 2 * num_edges
        }
        self._in_flight = in_flight
        self._acknowledgements = Acknowledgements(num_edges)
        self._headers: dict[Key, EdgeHeader] = {}  # of the messages on their way
        self._tampering = tampering
        self._last_work: dict[int, Work] = {}  # by node, where there is tampering

    def send(self, works: Sequence[Work], outbox: Message, dropped: Collection[Key]) -> None:
        """Send the messages of nodes, every field ``[n, ...]``, except for those that no node is going to read."""
        if self._tampering is not None:
            self._last_work.update((work.node, work) for work in works)
            outbox = self._tampering.sent(outbox, works)
        kept = []
        for row, work in enumerate(works):
            for edge, sequence in work.sends:
                if (edge, sequence) not in dropped:
                    self._headers[edge, sequence] = self._acknowledgements.header(edge, work.round)
                    kept.append((row, self._slots[edge], (edge, sequence)))
                self._acknowledgements.sent[edge] = sequence + 1
        self._in_flight.put(outbox, kept)

    def take(
        self, block: Block, reads: Sequence[Read], sends: Tensor, outbox: Message
    ) -> tuple[Message, Message, Headers]:
        """Return what nodes take in, what they themselves have sent, and the headers.

        Args:
            block: the nodes.
            reads: what each takes in.
            sends: slots on which each has sent in the round that it ends, bool ``[n, D]``.
            outbox: what they have sent last.
        """
        refused: Set[Key] = frozenset()
        if self._tampering is not None:
            outbox = self._tampering.believed(outbox, [self._last_work[read.node] for read in reads])
            refused = self._refused(block, reads, outbox, self._tampering)
        keys = self._keys(block, reads, refused)
        inbox = self._in_flight.take(keys)
        headers = self._take_headers(block, reads, sends, refused)
        for read in reads:
            for taken in read.taken:
                self._forget((taken.edge, taken.sequence))
        self.refused += len(refused)
        return inbox, outbox, headers

    def drop(self, keys: Collection[Key]) -> None:
        """Discard messages that no node is going to read."""
        for key in keys:
            if key in self._in_flight:
                self._forget(key)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that changes: tensors by name, and the rest for JSON."""
        payload, keys = self._in_flight.state()
        acknowledgements = self._acknowledgements
        values = {
            "refused": self.refused,
            "works": [to_json(work) for work in self._last_work.values()],
            "sent": acknowledgements.sent.tolist(),
            "newest": acknowledgements.newest.tolist(),
            "bitmap": acknowledgements.bitmap.tolist(),
            "headers": [[edge, *header] for (edge, _), header in sorted(self._headers.items())],
            "in_flight": keys,
        }
        return payload, values

    def load(self, payload: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        acknowledgements = self._acknowledgements
        for name in ("sent", "newest", "bitmap"):
            array = np.array(values[name], dtype=np.int64)
            if array.shape != acknowledgements.sent.shape:
                raise ValueError(f"{name!r} of {len(array)} directed edges; expected {len(acknowledgements.sent)}")
            setattr(acknowledgements, name, array)
        self._in_flight.load(payload, values["in_flight"])
        headers = ((edge, EdgeHeader(*header)) for edge, *header in values["headers"])
        self._headers = {(edge, header.sequence): header for edge, header in headers}
        self.refused = values["refused"]
        works = [work for work in map(from_json, values["works"]) if isinstance(work, Work)]
        self._last_work = {work.node: work for work in works}

    def _refused(self, block: Block, reads: Sequence[Read], outbox: Message, tampering: Tampering) -> set[Key]:
        """Return which of the messages that have come their receivers refuse."""
        keys = self._keys(block, reads)
        accepted = tampering.accepted(self._in_flight.take(keys), outbox).tolist()
        return {
            key
            for row, row_accepted in zip(keys, accepted, strict=True)
            for key, is_accepted in zip(row, row_accepted, strict=True)
            if key is not None and not is_accepted
        }

    def _keys(self, block: Block, reads: Sequence[Read], refused: Set[Key] = frozenset()) -> list[list[Key | None]]:
        """Return for every slot the message that is taken in on it; refused ones never came."""
        keys: list[list[Key | None]] = [[None] * block.in_edge.shape[1] for _ in reads]
        for row, read in enumerate(reads):
            for taken in read.taken:
                if (key := (taken.edge, taken.sequence)) not in refused:
                    keys[row][self._slots[reverse(taken.edge)]] = key
        return keys

    def _take_headers(self, block: Block, reads: Sequence[Read], sends: Tensor, refused: Set[Key]) -> Headers:
        """Return the headers of the messages that are not refused, and note that these are applied."""
        shape, acknowledgements = block.in_edge.shape, self._acknowledgements
        arrived = [
            (row, self._slots[reverse(taken.edge)], taken.edge, taken.age, self._headers[taken.edge, taken.sequence])
            for row, read in enumerate(reads)
            for taken in read.taken
            if (taken.edge, taken.sequence) not in refused
        ]
        received, reset = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        applied, age = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        if arrived:
            rows, slots, edges, ages, headers = (list(column) for column in zip(*arrived, strict=True))
            sequence, newest, bitmap, _ = np.array(headers, dtype=np.int64).T
            # The message of the round that the receiver is about to end is not one of those before.
            sent = acknowledgements.sent[reverse(np.array(edges))] - sends.cpu().numpy()[rows, slots]
            received[rows, slots] = True
            applied[rows, slots] = applied_before(sent, newest, bitmap)
            age[rows, slots] = ages
            acknowledgements.apply(np.array(edges), sequence)
        return Headers(*(torch.from_numpy(array).to(block.nodes.device) for array in (received, applied, age, reset)))

    def _forget(self, key: Key) -> None:
        del self._headers[key]
        self._in_flight.forget(key)
