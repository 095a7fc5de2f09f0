"""Tampering: nodes that corrupt the messages they send or are Byzantine, and receivers that refuse messages.

    nan, shape    every value is nan, as in a message that cannot be read
    huge          every value is 1e30
    sign-flip     y <- -scale y
    gaussian      y <- y + scale n, with n normal, the same for all neighbors

A receiver refuses a message if a field has a value that is not finite, or a norm above ``refuse_above`` times that of
the same field of the receiver's own last message. A field of one number, which says what the others are worth, may
differ much from node to node: it only has to be finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ngpd_fl.clock import Work
from ngpd_fl.config import Byzantine, Corrupt, FaultsConfig
from ngpd_fl.core.randomness import Purpose, generator
from strategies.contract import Message

_FILL = {"nan": float("nan"), "shape": float("nan"), "huge": 1e30}
"""The values of a corrupt message by the kind of fault. Arrays of a wrong shape cannot be read, so they are nan."""


class Tampering:
    """Changes outgoing messages, and decides which incoming ones are refused. Pure functions of the seed."""

    def __init__(self, config: FaultsConfig, seed: int, per_edge: Sequence[str]) -> None:
        """Prepare the scheduled faults.

        Args:
            config: the schedules.
            seed: keys all draws.
            per_edge: the fields with one value per edge.
        """
        self._config = config
        self._seed = seed
        self._per_edge = per_edge

    def sent(self, message: Message, works: Sequence[Work]) -> Message:
        """Return the messages of n nodes, every field ``[n, ...]``, as they are sent."""
        return self._changed(message, works, (*self._config.corrupt, *self._config.byzantine))

    def believed(self, message: Message, works: Sequence[Work]) -> Message:
        """Return the messages from which the senders' states go on: of Byzantine nodes as sent, of others unchanged."""
        return self._changed(message, works, self._config.byzantine)

    def accepted(self, inbox: Message, outbox: Message) -> Tensor:
        """Return which messages are not refused, bool ``[n, D]``.

        Args:
            inbox: the messages that arrived, every field ``[n, D, ...]``.
            outbox: the receivers' own last messages: fields per edge ``[n, D, ...]``, others ``[n, ...]``.
        """
        verdicts = []
        for name, value in inbox._asdict().items():
            if not value.is_floating_point():  # what picked or packed the numbers
                continue
            own: Tensor = getattr(outbox, name)
            own = own if name in self._per_edge else own[:, None]
            norm, own_norm = (
                torch.linalg.vector_norm(part.reshape(*part.shape[:2], -1), dim=2) for part in (value, own)
            )
            bound = self._config.refuse_above * own_norm if value.dim() > 2 else torch.inf
            verdicts.append(torch.isfinite(norm) & (norm <= bound))
        return torch.stack(verdicts).all(0)

    def _changed(self, message: Message, works: Sequence[Work], faults: Sequence[Corrupt | Byzantine]) -> Message:
        changes = []
        for row, work in enumerate(works):
            here = (fault for fault in faults if fault.node == work.node and fault.covers(work.time))
            if (fault := next(here, None)) is not None:
                changes.append((row, work, fault))
        if not changes:
            return message
        fields = {name: value.clone() for name, value in message._asdict().items()}
        for row, work, fault in changes:
            chance = generator(self._seed, Purpose.BYZANTINE, work.node, work.round)
            for name, value in fields.items():
                if not value.is_floating_point():
                    continue
                if isinstance(fault, Corrupt):
                    value[row] = _FILL[fault.kind]
                elif fault.kind == "sign-flip":
                    value[row] *= -fault.scale
                else:
                    shape = value.shape[2 if name in self._per_edge else 1 :]
                    value[row] += fault.scale * torch.as_tensor(chance.standard_normal(shape)).to(value)
        return type(message)(**fields)
