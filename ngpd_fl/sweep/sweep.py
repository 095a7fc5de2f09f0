"""A sweep from its plan to its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ngpd_fl.config import InputError
from ngpd_fl.records import require_empty
from ngpd_fl.records.files import lock, remove_partial, write_text
from ngpd_fl.records.rows import Row, write_rows
from ngpd_fl.sweep.picture import write_picture
from ngpd_fl.sweep.plan import PLAN, Plan
from ngpd_fl.sweep.table import TABLE, make_row
from ngpd_fl.sweep.trials import JOURNAL, Study, Trial
from ngpd_fl.sweep.workers import End, Task, run_tasks


def sweep(
    plan: Plan,
    out: Path | str,
    jobs: int = 1,
    *,
    go_on: bool = False,
    checkpoint_every: int | None = None,
    on_end: Callable[[Trial], None] | None = None,
) -> list[Row]:
    """Run the trials of a plan, each in a process and a folder of its own.

    Args:
        plan: what is run.
        out: folder for the records.
        jobs: trials at a time.
        go_on: whether ``out`` is a sweep that was cut short, of which only what is missing is run: trials that were
            killed or interrupted go on from their last checkpoint or begin again, those that diverged or failed would
            do so again.
        checkpoint_every: rounds from one checkpoint of a trial to the next; none: it would begin again.
        on_end: called with each trial that has ended.

    Returns:
        The table, a row per trial, as in ``trials.csv``.

    Raises:
        InputError: the folder cannot be used; nothing was changed.
        KeyboardInterrupt: as it came, after what was recorded has been completed.
    """
    folder = Path(out)
    if jobs < 1:
        raise InputError(f"jobs: {jobs} trials at a time; allowed: 1 and more")
    _prepare(plan, folder, go_on)
    with lock(folder / JOURNAL, "sweep"):
        remove_partial(folder, is_ours=True)
        write_text(folder / PLAN, plan.text)
        study = Study(plan, folder)
        rows = {trial.number: make_row(plan, folder, trial) for trial in study.trials()}

        begun: dict[str, Trial] = {}

        def tasks() -> Iterator[Task]:
            for trial in study.to_run():
                begun[trial.name] = trial
                yield Task(trial.name, folder / trial.name, plan.base, plan.values(trial.params), plan.objective)

        def end(task: Task, end: End) -> None:
            trial = replace(begun.pop(task.name), end=end)
            study.end(trial, end)
            rows[trial.number] = make_row(plan, folder, trial)
            write_rows(folder, TABLE, [row for _, row in sorted(rows.items())])
            if on_end is not None:
                on_end(trial)

        run_tasks(tasks(), jobs, end, checkpoint_every)
        table = [row for _, row in sorted(rows.items())]
        write_rows(folder, TABLE, table)
        write_picture(plan, folder, table)
    return table


def _prepare(plan: Plan, folder: Path, go_on: bool) -> None:
    """Let the folder hold the plan; raise ``InputError`` where it is not the one of this sweep."""
    if go_on:
        if not (folder / PLAN).is_file():
            raise InputError(f"{folder}: not a sweep's folder (it should hold {PLAN})")
        if not plan.same_search(Plan.read(folder / PLAN, measure=plan.measure)):  # of the same data
            raise InputError(f"{folder / PLAN}: differs from the file given; only sweep.trials may grow")
        (folder / JOURNAL).touch()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_empty(folder)
        write_text(folder / PLAN, plan.text)
        (folder / JOURNAL).touch()
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written ({error.strerror})") from error
