"""``ngpd-fl flower``: the same network as clients of Flower."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.run import Out
from ngpd_fl.cli.show import print_run
from ngpd_fl.cli.training import train

if TYPE_CHECKING:
    from ngpd_fl.config import Config

flower = typer.Typer(no_args_is_help=True)

_FLOWER = "Flower"
NodesPerClient = Annotated[
    int | None, typer.Option(help="nodes that a client hosts; default: 1", rich_help_panel=_FLOWER)
]
RoundTimeout = Annotated[
    float | None, typer.Option(help="seconds to wait for answers in a round; default: 600", rich_help_panel=_FLOWER)
]
StateDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="folder where clients keep their state", rich_help_panel=_FLOWER)
]
DataPlane = Annotated[
    str | None,
    typer.Option(help="how messages go: relay (default) or direct, from node to node", rich_help_panel=_FLOWER),
]


@flower.callback()
def options() -> None:
    """Train the same network as clients of Flower, which carries the messages."""


@flower.command()
def run(
    context: typer.Context,
    dataset: flags.Dataset = None,
    data_dir: flags.DataDir = None,
    partition: flags.Partition = None,
    strategy: flags.Strategy = None,
    topology: flags.Topology = None,
    nodes: flags.Nodes = None,
    model: flags.Model = None,
    init: flags.Init = None,
    rounds: flags.Rounds = None,
    local_steps: flags.LocalSteps = None,
    batch_size: flags.BatchSize = None,
    lr: flags.LearningRate = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    nodes_per_client: NodesPerClient = None,
    round_timeout: RoundTimeout = None,
    state_dir: StateDir = None,
    data_plane: DataPlane = None,
    assignments: flags.Assignments = None,
    config: flags.ConfigFile = None,
    out: Out = None,
    quiet: flags.Quiet = False,
) -> None:
    """Train a network of nodes in Flower's simulation on this machine and record it, as `ngpd-fl run` does.

    A SuperLink of its own is started for the run and stopped after it.
    """
    settings = flags.load_config(context.params)
    if not quiet:
        print("Starting Flower and Ray, which takes a while", file=sys.stderr, flush=True)
    given: dict[str, Any] = {"nodes_per_client": nodes_per_client, "round_timeout": round_timeout}
    given |= {"state_dir": state_dir, "data_plane": data_plane}
    train_with_flower(settings, out, quiet, given)


def train_with_flower(settings: Config, out: Path | None, quiet: bool, given: Mapping[str, Any]) -> None:
    """Train through Flower and record it; ``given`` goes to ``run_flower``, what is None left out."""

    def runner(*words: Any) -> Any:
        from ngpd_fl.flower.launcher.run import run_flower

        told: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return run_flower(*words, **told, on_event=lambda line: print(line, file=sys.stderr, flush=True))

    from ngpd_fl.records.new_folder import new_folder

    with new_folder(out, f"{settings.data.dataset}-{settings.strategy.name}") as folder:
        try:
            train(settings, folder, quiet, runner=runner)
        finally:  # also of a run that did not come to its end
            if not quiet and any(folder.iterdir()):
                print_run(folder)
