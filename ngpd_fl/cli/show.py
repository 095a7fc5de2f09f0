"""``ngpd-fl show``: results of a run, a comparison, a sweep or a study, printed from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import new_table, print_lines, print_table


def show(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="folder of a run, of several, of a sweep or a study")
    ],
    plots: Annotated[bool, typer.Option("--plots", help="draw the pictures again, into DIR/plots")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="of a run: print its evaluations as they come, until it has ended")
    ] = False,
    trust_code: flags.TrustCode = False,
) -> None:
    """Print the results of a run, a comparison, a sweep or a study from its records, finished or not."""
    if follow:
        from ngpd_fl.cli.follow import print_evaluations

        print_evaluations(directory)
    from ngpd_fl.cli.study import show_study
    from ngpd_fl.cli.sweep import print_sweep
    from ngpd_fl.records import RunFolder

    if (directory / "sweep.toml").is_file():
        print_sweep(directory, plots, trust_code=trust_code)
        return
    if (directory / "study.toml").is_file():
        show_study(directory, trust_code)
        return
    if plots:
        from ngpd_fl.report.pictures import write_plots

        write_plots(directory, trust_code=trust_code)
    (print_run if RunFolder.holds_run(directory) else print_comparison)(directory)


def print_run(folder: Path) -> None:
    """Print one run's figures line by line."""
    from ngpd_fl.report.outcome import read_run
    from ngpd_fl.report.setting import setting_words
    from ngpd_fl.report.table import line_by_line

    outcome = read_run(folder)
    heading = f"{outcome.config.method}: {setting_words(outcome.config)}"
    print_lines(heading, line_by_line(outcome), _foot(folder))


def print_comparison(folder: Path) -> None:
    """Print the figures of the runs in a folder side by side, the best first."""
    from ngpd_fl.report.outcome import read_outcomes
    from ngpd_fl.report.setting import common_words
    from ngpd_fl.report.table import side_by_side

    outcomes = read_outcomes(folder)
    heads, *rows = side_by_side(outcomes)
    table = new_table()
    for head in heads:
        words = head in ("", "status")
        table.add_column(head.replace(" ", "\n", 1), justify="left" if words else "right", vertical="bottom")
    for row in rows:
        table.add_row(*row)
    print_table(common_words(outcome.config for outcome in outcomes), table, _foot(folder))


def _foot(folder: Path) -> str:
    """Return hints: folders of records and pictures, commands that show event files, resume a run, write a page."""
    from ngpd_fl.records import RunFolder

    runs = [folder] if RunFolder.holds_run(folder) else sorted(folder.iterdir())
    event_files = any((run / "tensorboard").is_dir() for run in (folder, *runs))
    words = f"records in {folder}" + f"; `tensorboard --logdir {folder}` shows their curves" * event_files
    ways = [RunFolder(run).how_to_continue for run in runs if RunFolder.holds_run(run)]
    pictures = f"\npictures in {folder / 'plots'}; `ngpd-fl report {folder}` writes a web page about it"
    return "; ".join([words, *filter(None, ways)]) + pictures * (folder / "plots").is_dir()
