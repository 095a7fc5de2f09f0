"""``ngpd-fl flower``: training in Flower's simulation, with the nodes as clients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.show import print_run
from ngpd_fl.cli.train import train
from ngpd_fl.cli.watch import watched
from ngpd_fl.config.extras import require_extra

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.records import Progress
    from ngpd_fl.training.run import Result

flower = typer.Typer(no_args_is_help=True)


@flower.callback()
def options() -> None:
    """Train the same network as clients of Flower, which carries the messages."""


@flower.command()
@flags.with_config_flags(without=())
def run(
    given: flags.ConfigFlags, out: flags.Out = None, watch: flags.Watch = False, quiet: flags.Quiet = False
) -> None:
    """Train a network of nodes in Flower's simulation on this machine and record it, as `ngpd-fl run` does.

    A SuperLink of its own is started for the run and stopped after it.
    """
    require_extra("flower", "flower run")
    settings = given.load()
    if not quiet:
        print("Starting Flower and Ray, which takes a while", file=sys.stderr, flush=True)
    train_with_flower(settings, out, watch, quiet, given.flower)


def train_with_flower(settings: Config, out: Path | None, watch: bool, quiet: bool, options: Mapping[str, Any]) -> None:
    """Train through Flower and record it; ``options`` go to ``run_flower``."""

    def runner(config: Config, folder: Path, report: Callable[[Progress], None]) -> Result:
        from ngpd_fl.flower.launcher.run import run_flower

        return run_flower(config, folder, report, **options, on_event=_print_event)

    from ngpd_fl.records.new_folder import new_folder

    with new_folder(out, f"{settings.data.dataset}-{settings.strategy.name}") as folder:
        try:
            with watched(folder, watch, quiet):
                train(settings, folder, quiet, runner=runner)
        finally:  # also of a run that did not come to its end
            if not quiet and folder.is_dir() and any(folder.iterdir()):
                print_run(folder)


def _print_event(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
