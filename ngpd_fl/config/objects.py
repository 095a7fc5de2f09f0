"""A configuration with objects of a program: a network, a data set, a graph, index lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx

from ngpd_fl.config.config import Config, options_of_graph
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.held_object import ObjectSection, is_object_name, object_name
from ngpd_fl.config.partitions import ClassesPartition, IndicesPartition
from topologies import StaticSchedule


def with_objects(
    config: Config,
    *,
    model: Any = None,
    data: Any = None,
    graph: nx.Graph | None = None,
    partition: Sequence[Any] | None = None,
    init: Path | str | None = None,
) -> Config:
    """Return a configuration with objects in place of what it names; see ``ngpd_fl.run``.

    All other keys stay, such as ``data.batch_size`` and ``topology.schedule``.

    Raises:
        InputError: the graph is not connected, or keys do not go together.
    """
    sections: dict[str, Any] = {name: getattr(config, name) for name in type(config).model_fields}
    if model is not None:
        sections["model"] = config.model.holding(model, name=object_name(model))
    if init is not None:
        if not isinstance(init, str | Path):
            raise InputError(f"init: is a {type(init).__name__}; expected the path of a run's folder or of a file")
        sections["model"] = sections["model"].model_copy(update={"init": Path(init)})
    if data is not None:
        sections["data"] = config.data.holding(data, dataset=object_name(data), data_dir=None)
        if config.partition.name == "given":
            sections["partition"] = ClassesPartition()
    if graph is not None:
        if not isinstance(graph, nx.Graph):
            raise InputError(f"graph: is a {type(graph).__name__}; expected a networkx graph")
        schedule = getattr(config.topology, "schedule", StaticSchedule())
        sections["topology"] = options_of_graph(graph, schedule=schedule)
    if partition is not None:
        sections["partition"] = IndicesPartition(file=Path(object_name(partition))).holding(partition)
    return Config(**sections)


def with_recorded_objects(config: Config, *, model: Any = None, data: Any = None, partition: Any = None) -> Config:
    """Return a recorded configuration with the objects that it needs again; see ``with_objects``.

    Raises:
        InputError: an object is given where the configuration names what is meant.
    """
    indices = config.partition if isinstance(config.partition, IndicesPartition) else None
    recorded: dict[str, tuple[Any, ObjectSection | None, str]] = {
        "model": (model, config.model, config.model.name),
        "data": (data, config.data, config.data.dataset),
        "partition": (partition, indices, config.partition.name if indices is None else str(indices.file)),
    }
    sections = {}
    for keyword, (value, section, name) in recorded.items():
        if value is None:
            continue
        if section is None or not is_object_name(name):
            raise InputError(f"{keyword}: the run's own is {name}, which is no object; leave {keyword} out")
        sections[keyword] = section.holding(value)
    return config.model_copy(update=sections)
