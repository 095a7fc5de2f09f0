"""A run's configuration in Flower's form: flat keys with plain values, where an empty string means unset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tomli_w
from pydantic import ConfigDict, Field, ValidationError

from ngpd_fl.config.devices import DevicesConfig
from ngpd_fl.config.errors import InputError, one_line
from ngpd_fl.config.faults import FaultsConfig
from ngpd_fl.config.sections import Section
from ngpd_fl.config.text_files import expanded, parse_value

if TYPE_CHECKING:
    from ngpd_fl.config import Config

Plain = bool | int | float | str
"""Type of a value in Flower's run configuration."""


class FlowerConfig(Section):
    """Settings of a run in Flower. Its keys are written with hyphens, beside those of ``Config``."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True)

    nodes_per_client: int = Field(
        1,
        ge=1,
        description="nodes that a client hosts; messages among them never leave it",
        json_schema_extra={"flag": "--nodes-per-client"},
    )
    data_plane: Literal["relay", "direct"] = Field(
        "relay",
        description="how messages go: relay, through the server; direct, from node to node over HTTP",
        json_schema_extra={"flag": "--data-plane"},
    )
    peers: str | None = Field(
        None, description="with data-plane direct: content of the peers file, which says where each client's nodes are"
    )
    round_timeout: float = Field(
        600.0,
        gt=0,
        description="seconds that the server waits for answers; a client that answers later is left out of the round. "
        "With data-plane direct: seconds of silence after which a client counts as gone, and its nodes stop",
        json_schema_extra={"flag": "--round-timeout"},
    )
    register_timeout: float = Field(
        300.0, gt=0, description="seconds that the server waits for all clients before the first round"
    )
    state_dir: Path | None = Field(
        None,
        description="folder where a client keeps its state, so that it survives a restart, or continues on another "
        "machine that has the folder too; unset: none",
        json_schema_extra={"flag": "--state-dir"},
    )
    collect: bool = Field(True, description="gather every node's final parameters into the records")
    out: Path | None = Field(
        None, description="folder for the records, new or empty; unset: runs/DATASET-STRATEGY-1 or the next free number"
    )

    def __init__(self, /, **values: Any) -> None:
        """Validate ``values``; raise ``InputError`` with one line that names the key and what is allowed."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(one_line(error, type(self))) from None

    def num_clients(self, num_nodes: int) -> int:
        """Return how many clients host a network of N nodes."""
        return -(-num_nodes // self.nodes_per_client)

    def hosted(self, client: int, num_nodes: int) -> range:
        """Return the nodes of a client: the next ``nodes_per_client`` of the graph, the last client's may be fewer."""
        first = client * self.nodes_per_client
        return range(first, min(first + self.nodes_per_client, num_nodes))


def flower_keys() -> list[str]:
    """Return the keys of ``FlowerConfig`` as they are written."""
    return [str(field.alias) for field in FlowerConfig.model_fields.values()]


def every_key() -> list[str]:
    """Return all keys that the app's run configuration has: Flower refuses any other."""
    from ngpd_fl.config import all_keys  # it loads torch, which the command line's help does not need

    return [*flower_keys(), *all_keys()]


def read(run_config: Mapping[str, Plain]) -> tuple[Config, FlowerConfig]:
    """Return the parsed run configuration; raise ``InputError`` with one line if it cannot be used."""
    from ngpd_fl.config import Config

    values = {key: _value(key, value) for key, value in run_config.items() if value != ""}
    own = {key: values.pop(key) for key in flower_keys() if key in values}
    return Config.load(overrides=values), FlowerConfig(**own)


def check_for_flower(config: Config) -> None:
    """Raise ``InputError`` if only a simulation can do the run: through Flower there is no virtual time."""
    if config.training.baseline is not None:
        raise InputError("training.baseline: through Flower nodes exchange with their neighbors; use ngpd-fl run")
    if config.training.mode != "synchronous":
        raise InputError(f"training.mode: through Flower only synchronous is possible (got {config.training.mode})")
    for section, unset in (("devices", DevicesConfig()), ("faults", FaultsConfig())):
        if getattr(config, section) != unset:
            raise InputError(
                f"{section}: through Flower there is no virtual clock; leave its keys unset, or use ngpd-fl run"
            )


def write(config: Config, flower: FlowerConfig) -> dict[str, Plain]:
    """Return the run configuration that ``read`` turns into these two again; folders become absolute."""
    values = config.model_dump(exclude_none=True) | flower.model_dump(exclude_none=True, by_alias=True)
    return dict(_flat("", values, every_key()))


def _value(key: str, value: Plain) -> Any:
    """Parse a string as TOML (``"[64, 32]"``) or as a list with commas (``"64,32"``), or else return it unchanged."""
    if not isinstance(value, str) or "\n" in value:  # as the content of a file
        return value
    try:
        parsed = parse_value(value)
        listed = parse_value(f"[{value}]") if parsed == value and "," in value else None
    except ValueError as error:
        raise InputError(f"{key}: {error}") from error
    return listed if isinstance(listed, list) else parsed


def _flat(prefix: str, values: Mapping[str, Any], keys: list[str]) -> Iterator[tuple[str, Plain]]:
    """Yield the values under ``keys``; a value that is itself a mapping or a list is written as TOML."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in keys):
            yield from _flat(f"{key}.", value, keys)
        elif isinstance(value, Mapping):
            yield key, f"{{{', '.join(f'{json.dumps(str(part))} = {number!r}' for part, number in value.items())}}}"
        elif isinstance(value, list | tuple):
            yield key, tomli_w.dumps({"value": value}).partition("=")[2].replace("\n", " ").strip()
        else:
            yield key, str(expanded(value).absolute()) if isinstance(value, Path) else value
