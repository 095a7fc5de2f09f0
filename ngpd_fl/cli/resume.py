"""``ngpd-fl resume``: continuation of an interrupted or a finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import warn
from ngpd_fl.cli.errors import Ended
from ngpd_fl.cli.show import print_run
from ngpd_fl.cli.train import train
from ngpd_fl.cli.watch import watched

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.records import Progress
    from ngpd_fl.training.run import Result


def resume(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a run that was interrupted or killed")],
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1, help="rounds in all, more than the run had; a finished run then goes on", rich_help_panel=flags.FILES
        ),
    ] = None,
    checkpoint_every: flags.CheckpointEvery = None,
    device: flags.Device = None,
    trust_code: flags.TrustCode = False,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Resume an interrupted run or, with --rounds, a finished one.

    It resumes from its last checkpoint, or else from the beginning. The result is the same bit for bit, on another
    device up to rounding.
    """
    from ngpd_fl.records import RunFolder

    def runner(config: Config, folder: Path, report: Callable[[Progress], None]) -> Result:
        from ngpd_fl.training.callbacks import ProgressReport
        from ngpd_fl.training.run import resume as go_on

        return go_on(
            folder,
            [ProgressReport(report)],
            rounds=rounds,
            checkpoint_every=checkpoint_every,
            on_event=warn,
            device=device,
            trust_code=trust_code,
        )

    ended = None
    try:
        changes = None if rounds is None else {"training.rounds": rounds}
        config = RunFolder.open(directory).config(changes)
        with watched(directory, watch, quiet):
            train(config, directory, quiet, runner=runner)
    except Ended as error:
        ended = error
    if not quiet:
        print_run(directory)
    if ended is not None:
        raise ended
