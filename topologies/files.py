"""Graphs read from files: edge lists, GraphML and other formats of networkx."""

from __future__ import annotations

import hashlib
import os
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import networkx as nx
from pydantic import Field, model_validator

from topologies.base import NodeCount
from topologies.graphs import edge_array, graph_of, label_texts, node_index, require_connected, require_simple
from topologies.options import LabeledOptions


class FileOptions(LabeledOptions):
    """A graph from a file, undirected and connected; attributes such as weights are not read.

    Nodes are numbered 0..N-1 in the natural order of their labels, numbers by value (``9`` before ``10``, ``node9``
    before ``node10``), and keep these as their names. The format is known by the file's ending: ``.edgelist`` and
    ``.txt`` have two labels a line with space between them, ``.csv`` with a comma and without a heading, ``#`` begins a
    comment; ``.adjlist``, ``.graphml``, ``.gml``, ``.gexf`` and ``.g6`` are as networkx reads them, and labels are the
    nodes' identifiers there.

    A recorded configuration holds the path and a fingerprint of the graph, not the graph. So a run is repeated with the
    same graph or, where the file is lost or holds another one, not at all. The file is read when options are made,
    unless both ``nodes`` and ``fingerprint`` are given, as in a record, and each time that the graph is built.
    """

    name: Literal["file"] = "file"
    nodes: NodeCount = Field(8, description="N, the number of nodes; unset: as many as the file has")
    path: Path = Field(description="the file, seen from the current folder where it is not absolute")
    fingerprint: str = Field("", description="of the graph that the file must hold; unset: filled in from the file")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("path"), str | Path):
            return values  # not for this validator to refuse
        if "nodes" in values and "fingerprint" in values:
            return values
        path = Path(values["path"])
        edges, labels = read_graph(path)
        actual = {"nodes": _num_nodes(edges), "fingerprint": _fingerprint(edges)}
        _require_same(path, edges, **{key: values.get(key, actual[key]) for key in actual})
        return {**actual, "labels": labels, **values}

    def graph(self, seed: int) -> nx.Graph:
        """Return the file's graph; raise ``ValueError`` where it is not the one that the options were made for."""
        edges, _ = read_graph(self.path)
        _require_same(self.path, edges, self.nodes, self.fingerprint)
        return graph_of(self.nodes, edges)


def read_graph(path: Path) -> tuple[list[list[int]], tuple[str, ...] | None]:
    """Return the edges of the graph in a file, as ``graphs.edge_array`` orders them, and the nodes' labels, if any.

    Raises:
        ValueError: the file cannot be read, or holds no graph, or one that is not simple or not connected.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"path: must end in one of {', '.join(_READERS)} (got {str(path)!r})")
    try:
        place = Path(os.path.expanduser(path))
        if place.exists() and not place.is_file():  # a device or a pipe could be read for ever
            raise ValueError(f"path: is not a file (got {str(path)!r})")
        content = place.read_bytes()
    except OSError as error:
        raise ValueError(f"path: cannot be read, {error.strerror} (got {str(path)!r})") from error
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) and path.suffix.lower() not in _XML:
        raise ValueError(f"path: is UTF-16 text; save it as UTF-8 (got {str(path)!r})")
    content = content.removeprefix(BOM_UTF8)
    try:
        graph = _with_numbers(reader(content))
    except Exception as error:  # each reader has its own ways to fail on a file that is not of its format
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ValueError(f"path: is not a valid {path.suffix} file, {reason} (got {str(path)!r})") from error
    try:
        require_simple(graph)
        require_connected(graph)
    except ValueError as error:
        raise ValueError(f"path: {error} (got {str(path)!r})") from error
    index = node_index([graph])
    return edge_array(graph, index).tolist(), label_texts(index)


def _edge_list(content: bytes, separator: str | None) -> nx.Graph:
    """Read two labels a line; networkx' own reader passes over lines with only one."""
    graph = nx.Graph()
    for number, line in enumerate(content.decode().splitlines(), start=1):
        text = line.partition("#")[0].strip()
        labels = [label.strip() for label in text.split(separator)][:2]
        if text and (len(labels) < 2 or not all(labels)):
            raise ValueError(f"line {number} should name two nodes: {line!r}")
        if text:
            graph.add_edge(*labels)
    return graph


def _from_handle(read: Callable[[BytesIO], nx.Graph]) -> Callable[[bytes], nx.Graph]:
    return lambda content: read(BytesIO(content))


_READERS: dict[str, Callable[[bytes], nx.Graph]] = {
    ".edgelist": partial(_edge_list, separator=None),
    ".txt": partial(_edge_list, separator=None),
    ".csv": partial(_edge_list, separator=","),
    ".adjlist": _from_handle(nx.read_adjlist),
    ".graphml": _from_handle(nx.read_graphml),
    ".gml": _from_handle(partial(nx.read_gml, label="id")),
    ".gexf": _from_handle(nx.read_gexf),
    ".g6": lambda content: nx.from_graph6_bytes(content.strip()),
}


_XML = (".graphml", ".gexf")
"""Formats that say themselves how their text is written."""


def _with_numbers(graph: nx.Graph) -> nx.Graph:
    """Make labels whole numbers where all are texts of different ones."""
    if not all(isinstance(label, str) and re.fullmatch("-?[0-9]{1,18}", label) for label in graph):
        return graph
    numbers = {label: int(label) for label in graph}
    return nx.relabel_nodes(graph, numbers) if len(set(numbers.values())) == len(graph) else graph


def _require_same(path: Path, edges: list[list[int]], nodes: Any, fingerprint: Any) -> None:
    """Raise ``ValueError`` unless the number of nodes and the fingerprint are those of the graph in the file."""
    if nodes != _num_nodes(edges):
        raise ValueError(f"nodes: must be as many as in {str(path)!r}, {_num_nodes(edges)}, or unset (got {nodes})")
    if fingerprint != _fingerprint(edges):
        raise ValueError(
            f"fingerprint: the graph in {str(path)!r} is another one, {_fingerprint(edges)}; "
            f"leave this key out to take it nevertheless (got {fingerprint!r})"
        )


def _num_nodes(edges: list[list[int]]) -> int:
    """Return N: the graph is connected, so that its last node has an edge."""
    return max(map(max, edges)) + 1


def _fingerprint(edges: list[list[int]]) -> str:
    """Return 16 hexadecimal digits that another graph hardly has."""
    return hashlib.sha256(str(edges).encode()).hexdigest()[:16]
