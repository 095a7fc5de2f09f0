"""The flags of the commands. Flags of configuration keys are made from the fields: name, type, default and help.

A field has a flag if it sets ``json_schema_extra={"flag": "--NAME"}``. Nothing here loads torch, so help is fast.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ngpd_fl.cli.completion import completed, names_of
from ngpd_fl.cli.console import warn
from ngpd_fl.config.extras import TRACKERS, require_tracker
from ngpd_fl.config.partitions import NamedPartition
from ngpd_fl.config.sections import (
    DEFAULT_NAMES,
    DataConfig,
    EngineConfig,
    ModelConfig,
    SeedConfig,
    TrainingConfig,
)
from ngpd_fl.flower.run_config import FlowerConfig
from strategies.base import BaseStrategyOptions
from topologies.base import BaseTopologyOptions

if TYPE_CHECKING:
    from ngpd_fl.config import Config

EXPERIMENT, TRAINING, FLOWER, FILES = "Data, graph, algorithm, model", "Training", "Flower", "Files"
CLUSTER = "More machines"

SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "data": (EXPERIMENT, DataConfig),
    "partition": (EXPERIMENT, NamedPartition),
    "topology": (EXPERIMENT, BaseTopologyOptions),
    "strategy": (EXPERIMENT, BaseStrategyOptions),
    "model": (EXPERIMENT, ModelConfig),
    "training": (TRAINING, TrainingConfig),
    "": (TRAINING, SeedConfig),
    "engine": (TRAINING, EngineConfig),
    "flower": (FLOWER, FlowerConfig),
}
"""Section -> panel of help, and the fields; in the order of help."""


def fields_with_flags() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield key, flag and definition of all fields that have a flag; Flower's own keys begin with ``flower.``."""
    for section, (_, model) in SECTIONS.items():
        for name, field in model.model_fields.items():
            if isinstance(extra := field.json_schema_extra, Mapping) and "flag" in extra:
                yield f"{section}.{name}".lstrip("."), str(extra["flag"]), field


def option(key: str) -> Any:
    """Return the option of a key, for the annotation of a command's parameter."""
    flag, field = next((flag, field) for name, flag, field in fields_with_flags() if name == key)
    section, _, name = key.rpartition(".")
    default = DEFAULT_NAMES[section] if name == "name" else field.default
    help = field.description if default is None else f"{field.description}; default: {default}"
    complete = completed(lambda: names_of(key, field))
    return typer.Option(flag, help=help, rich_help_panel=SECTIONS[section][0], autocompletion=complete)


def _kind(field: FieldInfo) -> Any:
    """Return the type of a flag: the field's own, or text for a choice, which is checked later."""
    annotation: Any = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    return str if get_origin(annotation) is Literal else annotation


DataDir = Annotated[Path | None, option("data.data_dir")]
Device = Annotated[str | None, option("engine.device")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="any other key, e.g. strategy.damping=0.1; repeatable",
        rich_help_panel=TRAINING,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file; flags override it", rich_help_panel=FILES)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="folder for the records, new or empty; default: runs/DATASET-STRATEGY-1 or the next free number",
        rich_help_panel=FILES,
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="the picture: .png, .pdf or .svg; default: a free name in runs/",
        rich_help_panel=FILES,
    ),
]
Track = Annotated[
    str | None,
    typer.Option(
        "--track",
        metavar="NAME,...",
        help=f"send evaluations and files to trackers as well: {', '.join(TRACKERS)}",
        rich_help_panel=FILES,
        autocompletion=completed(lambda: TRACKERS),
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        metavar="ROUNDS",
        min=1,
        help="keep the whole state every so many rounds, so that `resume` can go on from there; default: never",
        rich_help_panel=FILES,
    ),
]
EventLog = Annotated[
    bool,
    typer.Option(
        "--event-log",
        help="write every event of the virtual clock into events.jsonl, which devices.replay takes",
        rich_help_panel=FILES,
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="run the code that the records name as package.module:name, as they may for model, loss and data set",
        rich_help_panel=FILES,
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="where runs are computed: processes (of this machine), ray (the cluster of RAY_ADDRESS), or slurm",
        rich_help_panel=CLUSTER,
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="an option of sbatch for each run's job: time=MINUTES (needed), partition=NAME, ...; repeatable",
        rich_help_panel=CLUSTER,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="show it in a browser while it goes on; prints the page's address; its server ends with the command",
        rich_help_panel=FILES,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="print nothing but errors", rich_help_panel=FILES)]


def tracker_names(track: str | None) -> list[str]:
    """Return the names in ``--track``; raise ``InputError`` if one is unknown, not installed, or stands twice."""
    names = [name.strip() for name in track.split(",")] if track else []
    for name in names:
        require_tracker(name)
    if len(set(names)) < len(names):
        from ngpd_fl.config import InputError

        raise InputError(f"track: a name stands twice in {track}")
    return names


@dataclass(frozen=True)
class ConfigFlags:
    """The flags of the configuration on a command line.

    Attributes:
        keys: those that flags set.
        assignments: of ``--set``.
        file: of ``--config``.
        flower: Flower's own keys that flags set, by their names in ``FlowerConfig``.
        quiet: whether nothing but errors is printed.
    """

    keys: Mapping[str, Any]
    assignments: Sequence[str]
    file: Path | None
    flower: Mapping[str, Any]
    quiet: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> ConfigFlags:
        """Return the flags among a command's parameters."""
        given = {key: value for name, key in _KEYS.items() if (value := parameters.get(name)) is not None}
        flower = {key.removeprefix("flower."): given.pop(key) for key in [*given] if key.startswith("flower.")}
        quiet = bool(parameters.get("quiet"))
        return cls(given, parameters["assignments"] or (), parameters["config"], flower, quiet)

    def overrides(self) -> dict[str, Any]:
        """Return the keys that are set, by flags and by ``--set``, which wins."""
        from ngpd_fl.config import parse_assignments

        return {**self.keys, **parse_assignments(self.assignments)}

    def load(self) -> Config:
        """Return the configuration, with a warning of what may surprise; raise ``InputError`` if it is not valid."""
        from ngpd_fl.config import Config

        config = Config.load(self.file, self.overrides())
        if not self.quiet:
            warn(config.topology.caution)
        return config


Command = Callable[..., None]


def with_config_flags(*only: str, without: Sequence[str] = ("flower",)) -> Callable[[Command], Command]:
    """Replace a command's first parameter by the flags of the configuration, ``--set`` and ``--config``.

    Args:
        only: keys to include; a section stands for all its keys. Defaults to all.
        without: keys and sections to leave out.

    Returns:
        A decorator of ``command(given: ConfigFlags, ...)``, whose other parameters stay as they are.
    """
    annotations: dict[str, Any] = {}
    for key, flag, field in fields_with_flags():
        names = {key, key.partition(".")[0]}
        if not names & set(without) and (not only or names & set(only)):
            annotations[_parameter(flag)] = Annotated[_kind(field) | None, option(key)]
    annotations |= {"assignments": Assignments, "config": ConfigFile}

    def decorate(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        @wraps(command)
        def configured(**parameters: Any) -> None:
            command(ConfigFlags.of(parameters), **{parameter.name: parameters[parameter.name] for parameter in own})

        keyword = inspect.Parameter.KEYWORD_ONLY
        made = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in annotations.items()]
        signature = inspect.Signature([*made, *(parameter.replace(kind=keyword) for parameter in own)])
        configured.__signature__ = signature  # type: ignore[attr-defined]
        configured.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return configured

    return decorate


def _parameter(flag: str) -> str:
    """Return the parameter of a flag, e.g. ``data_dir`` of ``--data-dir``."""
    return flag.removeprefix("--").replace("-", "_")


_KEYS = {_parameter(flag): key for key, flag, _ in fields_with_flags()}
"""Parameter of a command -> key of the configuration."""
