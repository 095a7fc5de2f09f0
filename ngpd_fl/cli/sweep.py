"""``ngpd-fl sweep``: many runs that differ in a few keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import new_table, print_step, print_table
from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended
from ngpd_fl.cli.watch import watched

if TYPE_CHECKING:
    from ngpd_fl.records.rows import Row
    from ngpd_fl.sweep import SweepPlan


def sweep(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="TOML: a configuration and a section [sweep], see docs/how-to/sweeps.md"),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="folder for the records, new or empty; default: runs/FILE-1 or the next free number",
            rich_help_panel=flags.FILES,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="trials at a time, each in its own process")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the sweep in DIR: only what is missing is run")
    ] = False,
    checkpoint_every: flags.CheckpointEvery = None,
    executor: flags.Executor = "processes",
    slurm: flags.Slurm = None,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Run many trials that differ in a few keys, on a grid, at random or by TPE, and rank them.

    Each trial is a run with its own folder. A table and a picture of all are beside them. A failed one stops no other.
    """
    from ngpd_fl.config import InputError, parse_assignments
    from ngpd_fl.records.new_folder import new_folder
    from ngpd_fl.sweep import SweepPlan, run_sweep
    from ngpd_fl.sweep.executors import make_executor

    runs = make_executor(executor, parse_assignments(slurm or (), "--slurm", "time=60"))
    plan = SweepPlan.read(file)
    report = _Report(plan, quiet)

    def run(folder: Path) -> None:
        try:
            with watched(folder, watch, quiet):
                rows = run_sweep(
                    plan,
                    folder,
                    jobs,
                    executor=runs,
                    resume=resume,
                    checkpoint_every=checkpoint_every,
                    on_end=report.on_end,
                )
        except KeyboardInterrupt as error:
            words = f"sweep interrupted; records are kept in {folder}, `ngpd-fl sweep {file} --out {folder} --resume`"
            raise Ended(f"{words} goes on", INTERRUPTED) from error
        if not quiet:
            print_sweep(folder, trust_code=True)  # the file is the one that was given
        if unfinished := [row["trial"] for row in rows if row["status"] != "finished"]:
            named = ", ".join(unfinished[:5]) + ", ..." * (len(unfinished) > 5)
            words = f"{len(unfinished)} of {len(rows)} trials did not finish ({named})"
            raise Ended(f"{words}; records are kept in {folder}", FAILED)

    if resume:
        if out is None:
            raise InputError("--resume: name the sweep's folder with --out")
        run(out)
    else:
        with new_folder(out, file.stem) as folder:
            run(folder)


def print_sweep(folder: Path, plots: bool = False, *, trust_code: bool) -> None:
    """Print a sweep's trials, the best first, and redraw its picture if requested."""
    from ngpd_fl.sweep import SWEEP_FILE, SweepPlan, ranked, read_trials, write_picture

    plan = SweepPlan.read(folder / SWEEP_FILE, trust_code=trust_code, recorded=True)
    rows = ranked(plan, read_trials(plan, folder))
    if plots:
        write_picture(plan, folder, rows)
    table = new_table()
    table.add_column("")
    table.add_column(plan.objective, justify="right")
    for key in plan.space:
        table.add_column(key.replace(".", ".\n", 1), justify="right", vertical="bottom")
    table.add_column("status")
    for row in rows:
        table.add_row(row["trial"], _objective(plan, row), *(_shown(row[key]) for key in plan.space), row["status"])
    print_table(f"{plan.sampler} of {plan.trials} trials", table, f"records in {folder}")


class _Report:
    """A line on stderr for each trial that has ended."""

    def __init__(self, plan: SweepPlan, quiet: bool) -> None:
        self._plan, self._quiet = plan, quiet

    def on_end(self, trial: Any) -> None:
        values = ", ".join(f"{key} {_shown(value)}" for key, value in self._plan.values(trial.params).items())
        if trial.end.status != "finished":
            note = " ".join(trial.end.note.split())
            print_step(f"ngpd-fl: warning: {trial.name} {trial.end.status}: {note} ({values})")
        elif not self._quiet:
            value = self._plan.measure.text(trial.end.value)
            of = f"{trial.name} of {self._plan.trials}"
            print_step(of, f"{self._plan.objective} {value:>7}", values)


def _objective(plan: SweepPlan, row: Row) -> str:
    value = row.get(plan.objective)
    return "-" if value is None else plan.measure.text(value)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
