"""A run's whole configuration: one TOML file, command-line flags or Python objects give the same validated object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypeVar

import networkx as nx
import tomli_w
from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from ngpd_fl.config.checks import (
    SERVER_BASELINES,
    check_baseline,
    check_data,
    check_division,
    check_faults,
    check_strategy,
    check_truth_values,
    check_whole_numbers,
)
from ngpd_fl.config.devices import DevicesConfig
from ngpd_fl.config.errors import InputError, choices, one_line
from ngpd_fl.config.faults import FaultsConfig
from ngpd_fl.config.installed import Registered, names, register
from ngpd_fl.config.node_names import by_number
from ngpd_fl.config.partitions import ClassesPartition, PartitionConfig
from ngpd_fl.config.renamed import require_current
from ngpd_fl.config.sections import (
    DEFAULT_NAMES,
    NODE_FOLDERS,
    DataConfig,
    EngineConfig,
    EvaluationConfig,
    ModelConfig,
    NetworkConfig,
    SeedConfig,
    TrainingConfig,
)
from ngpd_fl.config.text_files import parse_value, read_toml
from strategies import STRATEGIES, StrategyOptions, parse_strategy
from topologies import TOPOLOGIES, EdgesOptions, Topology, TopologyOptions, parse_topology

_KINDS: dict[str, Registered] = {"strategy": "strategies", "topology": "topologies"}

Options = TypeVar("Options")


class Config(SeedConfig):
    """Everything that determines a run.

    ``partition``, ``topology``, ``strategy`` and ``model`` may be given by name (``"ngpd"``), as a mapping, or as the
    options object itself. A mapping without a ``name`` gives options of the default one. A ``topology`` may also be any
    connected, undirected networkx graph.
    """

    data: DataConfig = DataConfig()
    partition: PartitionConfig = ClassesPartition()
    topology: SerializeAsAny[TopologyOptions] = Field(default_factory=lambda: parse_topology(DEFAULT_NAMES["topology"]))
    strategy: SerializeAsAny[StrategyOptions] = Field(default_factory=lambda: parse_strategy(DEFAULT_NAMES["strategy"]))
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    network: NetworkConfig = NetworkConfig()
    devices: DevicesConfig = DevicesConfig()
    faults: FaultsConfig = FaultsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    engine: EngineConfig = EngineConfig()

    def __init__(self, /, **values: Any) -> None:
        """Validate ``values``; raise ``InputError`` with one line that names the key and what is allowed."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(one_line(error, type(self))) from None
        check_truth_values(values, self)

    @model_validator(mode="before")
    @classmethod
    def _current_names_and_partition(cls, values: Any) -> Any:
        """Refuse old names, and let ``given`` be the default partition of data that are at their nodes."""
        require_current(values)
        data = values.get("data")
        dataset = data.get("dataset") if isinstance(data, Mapping) else getattr(data, "dataset", None)
        return {"partition": "given", **values} if dataset == NODE_FOLDERS else values

    @field_validator("partition", "model", mode="before")
    @classmethod
    def _shorthand(cls, value: Any, info: ValidationInfo) -> Any:
        return _with_name(str(info.field_name), value)

    @field_validator("topology", mode="before")
    @classmethod
    def _topology(cls, value: Any) -> TopologyOptions:
        if isinstance(value, nx.Graph):
            value = options_of_graph(value)
        return _named("topology", value, parse_topology, TOPOLOGIES, TOPOLOGIES.__getitem__)

    @field_validator("devices", "faults", mode="before")
    @classmethod
    def _nodes_by_number(cls, value: Any, info: ValidationInfo) -> Any:
        topology = info.data.get("topology")  # missing where it is wrong itself
        return value if topology is None else by_number(str(info.field_name), value, topology)

    @model_serializer(mode="wrap")
    def _slow_nodes_by_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the keys of ``devices.slow`` as texts: labels, where the graph has them."""
        values: dict[str, Any] = handler(self)
        slow, names = self.devices.slow, self.topology.node_names if self.topology.has_labels else ()
        if slow and values.get("devices", {}).get("slow"):
            values["devices"]["slow"] = {
                names[node] if node < len(names) else str(node): factor for node, factor in slow.items()
            }
        return values

    @field_validator("strategy", mode="before")
    @classmethod
    def _strategy(cls, value: Any) -> StrategyOptions:
        return _named("strategy", value, parse_strategy, STRATEGIES, lambda name: STRATEGIES[name][0])

    @model_validator(mode="after")
    def _combination(self) -> Config:
        check_whole_numbers(self)
        check_strategy(self.strategy, self.training, self.network)
        check_baseline(self.strategy, self.training, self.network, self.model, has_clock=self.has_clock)
        check_faults(self.strategy, self.faults)
        check_data(self.data, self.evaluation)
        check_division(self.data, self.partition)
        return self

    @property
    def method(self) -> str:
        """Name of the strategy or, e.g. ``fedavg (dsgd)``, of the baseline that takes its local steps."""
        baseline = self.training.baseline
        return self.strategy.name if baseline is None else f"{baseline} ({self.strategy.name})"

    @property
    def num_models(self) -> int:
        """Number of models: one at each node, or one in all (an all-reduce, a single node)."""
        return self.topology.nodes if self.training.baseline in (None, *SERVER_BASELINES) else 1

    @property
    def has_clock(self) -> bool:
        """Whether the run uses the virtual clock: its mode is not synchronous, or devices or faults are configured."""
        described = self.devices != DevicesConfig() or self.faults != FaultsConfig()
        return self.training.mode != "synchronous" or described

    def on_device(self, device: str) -> Config:
        """Return the same run on another device, named as in ``engine.device``."""
        engine = Config(engine={**self.engine.model_dump(), "device": device}).engine
        return self.model_copy(update={"engine": engine})

    @classmethod
    def load(cls, path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
        """Read a TOML file and apply ``overrides`` by dotted keys (``data.dataset``).

        Without a file, all other keys have their defaults.

        The order of the overrides does not matter: whole sections come first, then names, since a new name clears its
        section.
        """
        return cls.of(read_toml(path) if path is not None else {}, overrides or {})

    @classmethod
    def of(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
        """Return a configuration from the content of a file, as ``load`` does."""
        return cls(**put_over(values, overrides))

    def to_toml(self) -> str:
        """Return the whole resolved configuration as TOML; ``load`` gives it back unchanged."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def build_topology(config: Config) -> Topology:
    """Return the graph; raise ``InputError`` where a random one cannot be drawn."""
    try:
        return config.topology.build(config.seed)
    except ValueError as error:
        raise InputError(f"topology.{error}") from error


def put_over(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a file with overrides by dotted keys, in the order of ``Config.load``."""
    given = deepcopy(dict(values))
    for key, value in sorted(overrides.items(), key=lambda pair: _precedence(pair[0])):
        set_dotted(given, key, value)
    return given


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``values[a][b] = value`` for the key ``a.b``; ``strategy = "dsgd"`` stands for ``strategy.name``.

    A new ``name`` replaces the other keys of its section: they belong to what was named before.
    """
    if key in DEFAULT_NAMES and isinstance(value, str):
        key = f"{key}.name"
    *parents, last = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if isinstance(child, str):  # a section given by name only, e.g. strategy = "ngpd"
            child = values[parent] = {"name": child}
        if not isinstance(child, dict):
            raise InputError(f"{key}: {parent} is a value, not a section")
        values = child
    section = parents[-1] if parents else ""
    if last == "name" and values.get("name", DEFAULT_NAMES.get(section)) != value:
        shared = {"nodes", "schedule"} if section == "topology" else set()
        for other in [name for name in values if name not in shared]:
            del values[other]
    values[last] = value


def _precedence(key: str) -> tuple[bool, bool, int]:
    """Return the sort key of overrides: sections first, then names, those of outer sections first, then the rest."""
    return "." in key, key.rpartition(".")[2] != "name", key.count(".")


def parse_assignments(
    assignments: Iterable[str], flag: str = "--set", example: str = "strategy.lr=0.05"
) -> dict[str, Any]:
    """Read ``key=value`` pairs; a value is TOML (``0.1``, ``true``, ``[64, 32]``) or else a plain string.

    Args:
        assignments: the pairs.
        flag: that gave them, for errors.
        example: of a pair, for errors.
    """
    pairs = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"{flag} {assignment}: expected key=value, e.g. {example}")
        try:
            pairs[key] = parse_value(text)
        except ValueError as error:
            raise InputError(f"{flag} {key}: {error}") from error
    return pairs


def options_of_graph(graph: nx.Graph, **options: Any) -> TopologyOptions:
    """Return the options of a networkx graph, with ``weights`` or ``schedule`` among ``options``.

    Raises:
        InputError: it is not a connected, undirected graph.
    """
    try:
        return EdgesOptions.from_graph(graph, **options)
    except ValidationError as error:
        raise InputError(one_line(error, EdgesOptions, "topology")) from None
    except ValueError as error:
        raise InputError(f"topology: {error}") from error


def _with_name(key: str, value: Any) -> Any:
    """Spell out a section given by its name only, and name the default one where a mapping does not."""
    if isinstance(value, str):
        return {"name": value}
    return {"name": DEFAULT_NAMES[key], **value} if isinstance(value, Mapping) else value


def _named(
    key: Literal["strategy", "topology"],
    value: Any,
    parse: Callable[[Any], Options],
    registry: MutableMapping[str, Any],
    options_of: Callable[[str], type[BaseModel]],
) -> Options:
    """Validate a section that another package owns; errors name the full key."""
    value = _with_name(key, value)
    if not isinstance(value, Mapping):
        options: Options = value  # an options object is valid since it exists; pydantic checks its type
        return options
    if not isinstance(value["name"], str):
        raise InputError(f"{key}.name: should be a name (got {value['name']!r})")
    name, kind = value["name"], _KINDS[key]
    register(kind, registry, name)
    if name not in registry:
        raise InputError(f"{key}.name: {name!r} is not known; {choices(name, names(kind, registry))}")
    try:
        return parse(value)
    except ValidationError as error:
        raise InputError(one_line(error, options_of(name), key)) from None
    except ValueError as error:
        raise InputError(f"{key}.name: {error}") from error
