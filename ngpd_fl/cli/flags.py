"""The flags that commands share, and the configuration that they give together with a file.

A flag is a short name for a key of the configuration, which documents and checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ngpd_fl.config import Config

_WHAT, _HOW, _WHERE = "What is trained", "How", "Files"

Dataset = Annotated[
    str | None, typer.Option(help="e.g. digits, diabetes, mnist, image-folder; default: digits", rich_help_panel=_WHAT)
]
DataDir = Annotated[Path | None, typer.Option(help="folder that holds the data set", rich_help_panel=_WHAT)]
Partition = Annotated[
    str | None,
    typer.Option(
        help="how the images are divided, e.g. iid, dirichlet, classes, shards; default: classes",
        rich_help_panel=_WHAT,
    ),
]
Strategy = Annotated[
    str | None, typer.Option(help="the algorithm, e.g. ngpd, ecl, dsgd; default: ngpd", rich_help_panel=_WHAT)
]
Topology = Annotated[
    str | None,
    typer.Option(
        help="the graph, e.g. ring, torus, star, complete, random-regular; default: ring",
        rich_help_panel=_WHAT,
    ),
]
Nodes = Annotated[int | None, typer.Option(help="number of nodes; default: 8", rich_help_panel=_WHAT)]
Model = Annotated[
    str | None,
    typer.Option(
        help="the network, e.g. softmax, mlp, lenet, resnet20, torchvision:NAME; default: mlp", rich_help_panel=_WHAT
    ),
]
Init = Annotated[
    Path | None,
    typer.Option("--init", metavar="FILE", help="start from these weights (.safetensors)", rich_help_panel=_WHAT),
]
Rounds = Annotated[int | None, typer.Option(help="exchanges with the neighbors; default: 30", rich_help_panel=_HOW)]
UntilAccuracy = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="stop once the nodes' mean accuracy is so high, e.g. 0.9", rich_help_panel=_HOW),
]
LocalSteps = Annotated[
    int | None, typer.Option(help="minibatch steps between two exchanges; default: 8", rich_help_panel=_HOW)
]
BatchSize = Annotated[int | None, typer.Option(help="images in a local step; default: 32", rich_help_panel=_HOW)]
LearningRate = Annotated[float | None, typer.Option("--lr", help="step size of the strategy", rich_help_panel=_HOW)]
Seed = Annotated[int | None, typer.Option(help="keys every random draw; default: 0", rich_help_panel=_HOW)]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: auto", rich_help_panel=_HOW)]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="any other key, e.g. strategy.damping=0.1; repeatable", rich_help_panel=_HOW
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file; flags override it", rich_help_panel=_WHERE)
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="the picture: .png, .pdf or .svg; default: a free name in runs/",
        rich_help_panel=_WHERE,
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(
        "--export", metavar="DIR", help="write each node's data into DIR/node0, DIR/node1, ...", rich_help_panel=_WHERE
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", help="also write event files for TensorBoard, beside the records", rich_help_panel=_WHERE
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        metavar="ROUNDS",
        min=1,
        help="keep the whole state every so many rounds, so that `resume` can go on from there; default: never",
        rich_help_panel=_WHERE,
    ),
]
EventLog = Annotated[
    bool,
    typer.Option(
        "--event-log",
        help="write every event of the virtual clock into events.jsonl, which devices.replay takes",
        rich_help_panel=_WHERE,
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="run the code that the records name as package.module:name, as they may for model, loss and data set",
        rich_help_panel=_WHERE,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="print nothing but errors", rich_help_panel=_WHERE)]

KEYS = {
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "partition": "partition.name",
    "strategy": "strategy.name",
    "topology": "topology.name",
    "nodes": "topology.nodes",
    "model": "model.name",
    "init": "model.init",
    "rounds": "training.rounds",
    "until_accuracy": "training.until_accuracy",
    "local_steps": "training.local_steps",
    "batch_size": "data.batch_size",
    "lr": "strategy.lr",
    "seed": "seed",
    "device": "engine.device",
}
"""Parameter of a command -> key of the configuration."""


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a command's parameters set, by flags and by ``--set``, which wins."""
    from ngpd_fl.config import parse_assignments

    flags = {key: given[name] for name, key in KEYS.items() if given.get(name) is not None}
    return flags | parse_assignments(given["assignments"] or ())


def config_file(given: Mapping[str, Any]) -> Path | None:
    """Return what ``--config`` names."""
    return Path(given["config"]) if given["config"] is not None else None


def load_config(given: Mapping[str, Any]) -> Config:
    """Return the configuration of a command's parameters; raise ``InputError`` where it cannot be used."""
    from ngpd_fl.config import Config

    return Config.load(config_file(given), overrides(given))
