"""Execution of a sweep, from its plan to its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ngpd_fl.config import InputError
from ngpd_fl.records import require_empty
from ngpd_fl.records.files import lock, remove_partial, write_text
from ngpd_fl.records.rows import Row, write_rows
from ngpd_fl.sweep.executors import Executor, ProcessExecutor, run_tasks
from ngpd_fl.sweep.picture import write_picture
from ngpd_fl.sweep.plan import SWEEP_FILE, SweepPlan
from ngpd_fl.sweep.table import TABLE, make_row
from ngpd_fl.sweep.tasks import RunEnd, RunTask
from ngpd_fl.sweep.trials import JOURNAL, Trial, Trials


def run_sweep(
    plan: SweepPlan,
    out: Path | str,
    jobs: int = 1,
    *,
    executor: Executor | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    on_end: Callable[[Trial], None] | None = None,
) -> list[Row]:
    """Run the trials of a plan, each in its own process and folder.

    Args:
        plan: the sweep's plan.
        out: the folder for the records.
        jobs: number of trials at a time.
        executor: where the trials are run. Defaults to processes of this machine.
        resume: whether to go on with the incomplete sweep in ``out``: killed or interrupted trials continue from their
            last checkpoint or begin again; finished, diverged and failed ones are not repeated.
        checkpoint_every: number of rounds between checkpoints of a trial. Defaults to no checkpoints.
        on_end: called with each trial that has ended.

    Returns:
        The table, a row per trial, as in ``trials.csv``.

    Raises:
        InputError: the folder cannot be used, or the executor cannot run the trials; nothing was changed.
        KeyboardInterrupt: passed on after the records have been completed.
    """
    folder = Path(out)
    if jobs < 1:
        raise InputError(f"jobs: {jobs} trials at a time; allowed: 1 and more")
    with executor or ProcessExecutor() as connected:
        _prepare(plan, folder, resume)
        with lock(folder / JOURNAL, "sweep"):
            try:
                connected.prepare(folder, jobs)
            except InputError:
                if not resume:  # else the same command would find the folder not empty
                    (folder / SWEEP_FILE).unlink()
                    (folder / JOURNAL).unlink()
                raise
            return _run(plan, folder, jobs, connected, checkpoint_every, on_end)


def _run(
    plan: SweepPlan,
    folder: Path,
    jobs: int,
    executor: Executor,
    checkpoint_every: int | None,
    on_end: Callable[[Trial], None] | None,
) -> list[Row]:
    """Run the missing trials in a folder that is locked."""
    remove_partial(folder, is_ours=True)
    write_text(folder / SWEEP_FILE, plan.text)
    trials = Trials(plan, folder)
    rows = {trial.number: make_row(plan, folder, trial) for trial in trials.trials()}

    begun: dict[str, Trial] = {}

    def tasks() -> Iterator[RunTask]:
        for trial in trials.to_run():
            begun[trial.name] = trial
            yield RunTask(
                trial.name, folder / trial.name, plan.base, plan.values(trial.params), plan.objective, checkpoint_every
            )

    def end(task: RunTask, end: RunEnd) -> None:
        trial = replace(begun.pop(task.name), end=end)
        trials.end(trial, end)
        rows[trial.number] = make_row(plan, folder, trial)
        write_rows(folder, TABLE, [row for _, row in sorted(rows.items())])
        if on_end is not None:
            on_end(trial)

    run_tasks(tasks(), executor, jobs, end)
    table = [row for _, row in sorted(rows.items())]
    write_rows(folder, TABLE, table)
    write_picture(plan, folder, table)
    return table


def _prepare(plan: SweepPlan, folder: Path, resume: bool) -> None:
    """Create the folder with the plan, or raise ``InputError`` if it is not that of this sweep."""
    if resume:
        if not (folder / SWEEP_FILE).is_file():
            raise InputError(f"{folder}: not a sweep's folder (it should hold {SWEEP_FILE})")
        if not plan.same_search(SweepPlan.read(folder / SWEEP_FILE, measure=plan.measure)):  # with the same data
            raise InputError(f"{folder / SWEEP_FILE}: differs from the file given; only sweep.trials may grow")
        (folder / JOURNAL).touch()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_empty(folder)
        write_text(folder / SWEEP_FILE, plan.text)
        (folder / JOURNAL).touch()
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written ({error.strerror})") from error
