"""Who gets what: the messages of a round, moved from the parcels of their senders into those of their receivers.

Contents are opaque: an array goes from one record into others as it is, and no arithmetic is done on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.flower.messages import Mail


class Router:
    """Knows which client each directed edge begins and ends at."""

    def __init__(self, edges: NDArray[np.int64], home: Sequence[int]) -> None:
        """Take the graph's edges ``[E, 2]``, i < j in each row, and each node's client."""
        self.sender = edges.reshape(-1).tolist()
        self.receiver = edges[:, ::-1].reshape(-1).tolist()
        self._home = home

    def route(self, parcels: Mapping[int, Mail], delivered: NDArray[np.bool_]) -> dict[int, Mail]:
        """Return what arrives, by client.

        Args:
            parcels: what came from the clients that took part, by client.
            delivered: directed edges whose message is not lost, bool ``[2 E]``.

        Raises:
            ValueError: a client wrote for an edge that does not begin at it.
        """
        arriving: dict[int, Mail] = {}
        for client, parcel in parcels.items():
            of_source: dict[tuple[str, int], list[str]] = {}
            for name in parcel.letters:
                kind, _, number = name.split("/")
                of_source.setdefault((kind, int(number)), []).append(name)
            for text, slip in parcel.slips.items():
                edge = int(text)
                if not 0 <= edge < len(self.sender) or self._home[self.sender[edge]] != client:
                    raise ValueError(f"client {client} wrote for directed edge {edge}, which does not begin there")
                if not delivered[edge]:
                    continue
                mail = arriving.setdefault(self._home[self.receiver[edge]], Mail({}, {}))
                mail.slips[text] = slip
                for source in (("edge", edge), ("node", self.sender[edge])):
                    for name in of_source.get(source, ()):
                        mail.letters[name] = parcel.letters[name]
        return arriving
