"""Routing: the messages of a round, moved from the clients of their senders to those of their receivers.

Contents are opaque: an array passes unchanged from one record into others, without any arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.directed_edges import receivers, senders
from ngpd_fl.flower.messages import NodeMessages

_NAME = re.compile(r"(edge|node)/\w+/\d{1,9}")
"""Name of an array in the payload."""


class Router:
    """Knows the clients at which each directed edge begins and ends."""

    def __init__(self, edges: NDArray[np.int64], home: Sequence[int]) -> None:
        """Store the ends of all directed edges.

        Args:
            edges: the edges of the graph, ``[E, 2]``, i < j in each row.
            home: each node's client.
        """
        self.sender = senders(edges).tolist()
        self.receiver = receivers(edges).tolist()
        self._home = home

    def check(self, client: int, messages: NodeMessages) -> None:
        """Raise ``ValueError`` if a client wrote for an edge that does not begin at it, or named an array wrongly."""
        for edge in messages.headers:
            if not 0 <= edge < len(self.sender) or self._home[self.sender[edge]] != client:
                raise ValueError(f"client {client} wrote for directed edge {edge}, which does not begin there")
        if odd := [name for name in messages.payload if not _NAME.fullmatch(name)]:
            raise ValueError(f"client {client} sent an array {odd[0][:40]!r}, which belongs to no message")

    def route(self, sent: Mapping[int, NodeMessages], delivered: NDArray[np.bool_]) -> dict[int, NodeMessages]:
        """Return the messages that arrive, by client.

        Args:
            sent: messages that ``check`` has accepted, by the client that wrote them.
            delivered: directed edges whose message is not lost, bool ``[2 E]``.
        """
        arriving: dict[int, NodeMessages] = {}
        for messages in sent.values():
            of_source: dict[tuple[str, int], list[str]] = {}
            for name in messages.payload:
                kind, _, number = name.split("/")
                of_source.setdefault((kind, int(number)), []).append(name)
            for edge, header in messages.headers.items():
                if not delivered[edge]:
                    continue
                there = arriving.setdefault(self._home[self.receiver[edge]], NodeMessages({}, {}))
                there.headers[edge] = header
                for source in (("edge", edge), ("node", self.sender[edge])):
                    for name in of_source.get(source, ()):
                        there.payload[name] = messages.payload[name]
        return arriving
