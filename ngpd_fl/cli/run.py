"""``ngpd-fl run``: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.show import print_run
from ngpd_fl.cli.training import train

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="folder for the records, new or empty; default: runs/DATASET-STRATEGY-1 or the next free number",
        rich_help_panel="Files",
    ),
]


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
    until_accuracy: flags.UntilAccuracy = None,
    local_steps: flags.LocalSteps = None,
    batch_size: flags.BatchSize = None,
    lr: flags.LearningRate = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    assignments: flags.Assignments = None,
    config: flags.ConfigFile = None,
    out: Out = None,
    tensorboard: flags.TensorBoard = False,
    checkpoint_every: flags.CheckpointEvery = None,
    event_log: flags.EventLog = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a network of nodes and record it.

    A folder of records holds the whole configuration, every evaluation, the final models and pictures.
    """
    settings = flags.load_config(context.params)
    from ngpd_fl.records.new_folder import new_folder

    with new_folder(out, f"{settings.data.dataset}-{settings.strategy.name}") as folder:
        try:
            train(
                settings,
                folder,
                quiet,
                tensorboard=tensorboard,
                checkpoint_every=checkpoint_every,
                event_log=event_log,
            )
        finally:  # also of a run that did not come to its end
            if not quiet and any(folder.iterdir()):
                print_run(folder)
