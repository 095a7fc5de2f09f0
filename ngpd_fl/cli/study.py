"""``ngpd-fl study``: a comparison of strategies, all tuned with the same effort."""

from __future__ import annotations

import re
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import new_table, print_step, print_table
from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended
from ngpd_fl.cli.watch import watched

if TYPE_CHECKING:
    from ngpd_fl.study import StudyPlan, StudyProgress


def study(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="TOML: cells, strategies, tuning; see docs/how-to/studies.md")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="folder of the study, new or of an earlier call", rich_help_panel=flags.FILES),
    ],
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="runs at a time, each in its own process")] = 1,
    limit: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="start no run that would end after this time, e.g. 55m or 1h30m"),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="CELL/STRATEGY",
            help="run only this; a cell, a value of an axis or a strategy's label alone is enough",
        ),
    ] = None,
    list_plan: Annotated[
        bool, typer.Option("--list", help="print what is done and what is to do; run nothing")
    ] = False,
    data_dir: flags.DataDir = None,
    executor: flags.Executor = "processes",
    slurm: flags.Slurm = None,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Compare strategies over cells and seeds, each tuned with the same number of trials.

    The same command again continues the study: only missing runs are done.
    """
    until = None if limit is None else time.monotonic() + _seconds(limit)
    from ngpd_fl.config import parse_assignments
    from ngpd_fl.study import StudyPlan, run_study, study_progress
    from ngpd_fl.sweep.executors import make_executor

    runs = make_executor(executor, parse_assignments(slurm or (), "--slurm", "time=60"))
    plan = StudyPlan.read(file, data_dir)
    if list_plan:
        _print_plan(plan, study_progress(plan, out), jobs)
        return

    failed: list[str] = []

    def on_end(run: Any, end: Any, text: str) -> None:
        if end.status not in ("finished", "interrupted"):
            note = " ".join(end.note.split())
            print_step(f"ngpd-fl: warning: {run.name} {end.status}: {note}")
        elif not quiet and end.value is not None:
            value = plan.measure.text(end.value)
            print_step(text, run.name, f"{plan.objective} {value}")
        if end.status in ("failed", "killed"):
            failed.append(run.name)

    try:
        seconds = None if until is None else until - time.monotonic()
        with watched(out, watch, quiet):
            now = run_study(plan, out, jobs, executor=runs, seconds=seconds, only=only, on_end=on_end)
    except KeyboardInterrupt as error:
        raise Ended(f"study interrupted; the same command goes on, records are kept in {out}", INTERRUPTED) from error
    if not quiet:
        print_study(plan, now, out)
    if failed:
        named = ", ".join(failed[:5]) + ", ..." * (len(failed) > 5)
        raise Ended(
            f"{len(failed)} run{'s' * (len(failed) > 1)} failed ({named}); the same command tries again", FAILED
        )


def show_study(folder: Path, trust_code: bool) -> None:
    """Print the tables of a study again."""
    from ngpd_fl.study import STUDY_FILE, StudyPlan, study_progress

    plan = StudyPlan.read(folder / STUDY_FILE, trust_code=trust_code, recorded=True)
    print_study(plan, study_progress(plan, folder), folder)


def print_study(plan: StudyPlan, now: StudyProgress, folder: Path) -> None:
    """Print the tables of all cells."""
    from rich.markup import escape

    from ngpd_fl.study.results import figures
    from ngpd_fl.study.tables import LEGEND, cells, heads

    names = heads(plan, now.rows)
    place = 1 + list(figures(plan)).index(plan.objective)
    lines = list(zip(now.rows, cells(plan, now.rows), strict=True))
    table = new_table()
    for name in names:
        words = name in ("strategy", "values", "seeds", "paper")
        table.add_column(name.replace(" to ", "\nto "), justify="left" if words else "right", vertical="bottom")
    for cell, group in groupby(lines, key=lambda line: line[0]["cell"]):
        table.add_section()
        table.add_row(f"[italic]{escape(cell)}[/]")
        role = "peer"
        for row, texts in group:
            if row["role"] != role:
                role = row["role"]
                table.add_row("[dim]baselines[/]")
            shown = [escape(text) for text in texts]
            shown[place] += " *" if row["near"] else "  "
            table.add_row(*shown, style="bold" if row["best"] else "")
    files = f"tables in {folder / 'results.md'}; `ngpd-fl report {folder}` writes a web page about it"
    print_table(plan.title, table, f"{LEGEND}\n{now.text}; {files}")


def _print_plan(plan: StudyPlan, now: StudyProgress, jobs: int) -> None:
    """Print the runs done and missing per cell and strategy, and the expected time with this number of jobs."""
    from ngpd_fl.report import units

    table = new_table()
    for name in ("cell", "strategy", "trials", "seeds"):
        table.add_column(name, justify="left" if name in ("cell", "strategy") else "right")
    for cell, strategy in plan.pairs():
        counts = []
        for phase in ("tuning", "final"):
            of = [s for s in now.runs if s.cell is cell and s.strategy is strategy and s.phase == phase]
            counts.append(f"{sum(s.record is not None for s in of)} of {len(of)}" if of else "-")
        place = plan.tuning_cell(cell, strategy)
        if strategy.space and place is not cell:
            counts[0] = f"those of {place.name}"
        table.add_row(cell.name, strategy.label, *counts)
    left = "known once a run has ended" if now.seconds is None else f"about {units.seconds(now.seconds / jobs)}"
    print_table(plan.title, table, f"{now.text}; time left with --jobs {jobs}: {left}")


def _seconds(text: str) -> float:
    """Return a duration in seconds; raise ``InputError`` if the text is not a duration."""
    from ngpd_fl.config import InputError

    parts = re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", text, re.ASCII)
    if not text or parts is None:
        raise InputError(f"--for {text}: should be a time such as 55m, 90s or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds
