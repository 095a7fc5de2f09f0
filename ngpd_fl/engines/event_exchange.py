"""The messages between nodes in rounds of their own: sent, perhaps tampered with, refused or taken in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.clock import Read, Work, from_json, to_json
from ngpd_fl.engines.acknowledgements import Acknowledgements
from ngpd_fl.engines.blocks import Block
from ngpd_fl.engines.in_flight import InFlightMessages, Key
from ngpd_fl.faults import Tampering
from strategies import Headers
from strategies.contract import Message


class Mail:
    """Holds what is on its way, what each sender had taken in when it wrote, and what receivers refuse.

    Attributes:
        refused: messages that their receivers have refused.
    """

    def __init__(
        self, blocks: Sequence[Block], num_edges: int, post: InFlightMessages, tampering: Tampering | None
    ) -> None:
        """Take the nodes, E, an empty post, and what nodes make of what they send; none: nothing."""
        self.refused = 0
        self._slots = {
            edge: slot
            for block in blocks
            for edges in block.out_edge.tolist()
            for slot, edge in enumerate(edges)
            if edge < 2 * num_edges
        }
        self._post = post
        self._receipts = Acknowledgements(num_edges)
        self._tampering = tampering
        self._last_work: dict[int, Work] = {}  # by node, where there is tampering

    def send(self, works: Sequence[Work], outbox: Message, dropped: Collection[Key]) -> None:
        """Put what nodes send on its way, every field ``[n, ...]``, but for what nobody is going to take."""
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

    def open(
        self, block: Block, reads: Sequence[Read], sends: Tensor, outbox: Message
    ) -> tuple[Message, Message, Headers]:
        """Return what nodes take in, what they themselves have said, and the headers.

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
        inbox = self._post.take(self._keys(block, reads, refused))
        headers = self._headers(block, reads, sends, refused)
        for read in reads:
            for taken in read.taken:
                key = taken.edge, taken.sequence
                if key not in refused:
                    self._receipts.take(key)
                self._forget(key)
        self.refused += len(refused)
        return inbox, outbox, headers

    def drop(self, keys: Collection[Key]) -> None:
        """Let go of messages that nobody is going to take."""
        for key in keys:
            if key in self._post:
                self._forget(key)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that changes: tensors by name, and the rest for JSON."""
        letters, keys = self._post.state()
        works = [to_json(work) for work in self._last_work.values()]
        return letters, {"refused": self.refused, "works": works, "receipts": self._receipts.state(), "post": keys}

    def load(self, letters: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; raise ``ValueError`` where that belongs to another network."""
        self._receipts.load(values["receipts"])
        self._post.load(letters, values["post"])
        self.refused = values["refused"]
        works = [work for work in map(from_json, values["works"]) if isinstance(work, Work)]
        self._last_work = {work.node: work for work in works}

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
        """Return for every slot the message that is taken in on it; refused ones never came."""
        keys: list[list[Key | None]] = [[None] * block.in_edge.shape[1] for _ in reads]
        for row, read in enumerate(reads):
            for taken in read.taken:
                if (key := (taken.edge, taken.sequence)) not in refused:
                    keys[row][self._slots[taken.edge ^ 1]] = key
        return keys

    def _headers(self, block: Block, reads: Sequence[Read], sends: Tensor, refused: Set[Key]) -> Headers:
        shape = block.in_edge.shape
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
        nobody_was_reset = np.zeros(shape, dtype=bool)
        values = (received, applied, age, nobody_was_reset)
        return Headers(*(torch.as_tensor(each, device=block.nodes.device) for each in values))

    def _forget(self, key: Key) -> None:
        self._receipts.forget(key)
        self._post.forget(key)
