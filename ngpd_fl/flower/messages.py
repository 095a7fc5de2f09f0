"""Records in Flower's messages between clients and server. No function here reads a payload.

The messages of nodes are two records. ``payload`` holds arrays by name: ``edge/FIELD/NUMBER`` is one value for a
directed edge, and ``node/FIELD/NUMBER`` one that a node sends to all its neighbors. ``headers`` holds the
``EdgeHeader`` of each message by the number of its directed edge; an edge without one carries no message. Numbers are
those of the graph, never Flower's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from ngpd_fl.core.code_version import code_version as code_version
from ngpd_fl.core.directed_edges import EdgeHeader

PAYLOAD, HEADERS, CONFIG, METRICS, MODELS = "payload", "headers", "config", "metrics", "models"
"""Names of a message's records."""

REFUSED = 1000
"""Error code of a client's answer if it cannot take part; Flower's own codes are small."""


class NodeMessages(NamedTuple):
    """Messages of nodes in Flower's form.

    Attributes:
        payload: content by name.
        headers: directed edge -> header of its message.
    """

    payload: dict[str, Array]
    headers: dict[int, EdgeHeader]


def config_record(values: Mapping[str, Any]) -> ConfigRecord:
    """Return the record of a message's plain values."""
    return ConfigRecord(dict(values))


def config_of(content: RecordDict) -> dict[str, Any]:
    """Return a message's plain values."""
    return dict(content.config_records[CONFIG])


def models(content: RecordDict, nodes: Iterable[int]) -> dict[str, Array]:
    """Return the parameters of a client's own nodes, by node and name; others are not its to send.

    Raises:
        ValueError: an array cannot be read.
    """
    own = {f"node{node}" for node in nodes}
    sent = content.array_records.get(MODELS, {}).items()
    arrays = {name: array for name, array in sent if name.partition("/")[0] in own}
    for name, array in arrays.items():
        try:
            is_real = array.numpy().dtype.kind in "biuf"
        except Exception as error:  # NumPy's reader fails in many ways on what is no array
            raise ValueError(f"{name} cannot be read") from error
        if not is_real:
            raise ValueError(f"{name} is of type {array.numpy().dtype}")
    return arrays


def write_messages(content: RecordDict, messages: NodeMessages) -> None:
    """Write messages of nodes into one of Flower's."""
    content[PAYLOAD] = ArrayRecord(messages.payload)
    content[HEADERS] = ConfigRecord({str(edge): list(header) for edge, header in messages.headers.items()})


def read_messages(content: RecordDict) -> NodeMessages:
    """Return the messages of nodes in one of Flower's; empty if there are none.

    Raises:
        ValueError: a header is malformed.
    """
    if PAYLOAD not in content.array_records:
        return NodeMessages({}, {})
    headers: dict[str, Any] = dict(content.config_records[HEADERS])
    for edge, values in headers.items():
        if not (isinstance(values, list) and len(values) == 4 and all(type(value) is int for value in values)):
            raise ValueError(f"directed edge {edge}: {values} is no header of a message")
    return NodeMessages(
        dict(content.array_records[PAYLOAD]), {int(edge): EdgeHeader(*values) for edge, values in headers.items()}
    )
