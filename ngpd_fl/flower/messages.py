"""What client and server write into Flower's messages. Nothing here looks into a payload.

A parcel is two records. ``letters`` holds arrays by name: ``edge/FIELD/NUMBER`` is one value for a directed edge, and
``node/FIELD/NUMBER`` one that a node says to all its neighbors. ``slips`` holds, by the directed edge's number, what
that message says about its edge; an edge without one carries no message. Numbers are those of the graph, never
Flower's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from ngpd_fl.core.code_version import code_version as code_version

LETTERS, SLIPS, NOTE, FIGURES, MODELS = "letters", "slips", "note", "figures", "models"
"""Names of a message's records."""

REFUSED = 1000
"""Code of the error that a client answers with where it cannot take part; Flower's own codes are small."""


class Mail(NamedTuple):
    """A parcel on its way.

    Attributes:
        letters: content by name.
        slips: what the messages say about their edges.
    """

    letters: dict[str, Array]
    slips: dict[str, list[int]]


def note(values: Mapping[str, Any]) -> ConfigRecord:
    """Return the record that says what a message is about."""
    return ConfigRecord(dict(values))


def noted(content: RecordDict) -> dict[str, Any]:
    """Return what a message is about."""
    return dict(content.config_records[NOTE])


def put(content: RecordDict, mail: Mail) -> None:
    """Write a parcel into a message."""
    content[LETTERS] = ArrayRecord(mail.letters)
    content[SLIPS] = ConfigRecord(dict(mail.slips))


def get(content: RecordDict) -> Mail:
    """Return the parcel of a message; empty where there is none."""
    if LETTERS not in content.array_records:
        return Mail({}, {})
    slips: dict[str, Any] = dict(content.config_records[SLIPS])
    return Mail(dict(content.array_records[LETTERS]), slips)
