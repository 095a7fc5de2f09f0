"""Execution of a study, from its plan to its tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ngpd_fl.config import InputError
from ngpd_fl.records import require_empty
from ngpd_fl.records.files import alone_in, lock, refuse_link, remove_partial, write_text
from ngpd_fl.records.rows import Row, write_rows
from ngpd_fl.study.curves import curves
from ngpd_fl.study.plan import STUDY_FILE, StudyPlan
from ngpd_fl.study.provenance import provenance
from ngpd_fl.study.results import results, run_row
from ngpd_fl.study.runs import JOURNAL, RUNS, RunStore
from ngpd_fl.study.schedule import PlannedRun, Schedule
from ngpd_fl.study.tables import latex, markdown
from ngpd_fl.sweep.executors import Executor, ProcessExecutor, run_tasks
from ngpd_fl.sweep.tasks import RunEnd, RunTask


class StudyProgress(NamedTuple):
    """Progress of a study.

    Attributes:
        runs: all runs, in the order of work.
        rows: rows of the table of results.
        done: number of runs that are over.
        total: number of all runs.
        seconds: expected seconds for the rest in one process; None while no similar run has ended.
    """

    runs: list[PlannedRun]
    rows: list[Row]
    done: int
    total: int
    seconds: float | None

    @property
    def text(self) -> str:
        """The progress in words, e.g. ``7 of 12 runs done``."""
        return f"{self.done} of {self.total} runs done"


def run_study(
    plan: StudyPlan,
    out: Path | str,
    jobs: int = 1,
    *,
    executor: Executor | None = None,
    seconds: float | None = None,
    only: str | None = None,
    on_end: Callable[[PlannedRun, RunEnd, str], None] | None = None,
) -> StudyProgress:
    """Run all missing runs of a study.

    Args:
        plan: the study's plan.
        out: its folder, new or of an earlier call.
        jobs: number of runs at a time, each in its own process.
        executor: where these processes are. Defaults to this machine.
        seconds: time limit; no run begins that is expected to end later. Defaults to no limit.
        only: a cell's values and a strategy's label, joined by slashes, to run nothing else.
        on_end: called after each run with the run, its end, and the study's progress in words.

    Returns:
        The progress at the end.

    Raises:
        InputError: the folder cannot be used, or the executor cannot run the runs; nothing was changed.
        KeyboardInterrupt: passed on after the records have been completed.
    """
    folder = Path(out)
    if jobs < 1:
        raise InputError(f"jobs: {jobs} runs at a time; allowed: 1 and more")
    plan.selected(only)
    until = None if seconds is None else time.monotonic() + seconds
    with executor or ProcessExecutor() as connected, _locked(plan, folder):
        connected.prepare(folder, jobs)
        store = RunStore(folder)
        store.take_over()
        for path in (folder, folder / RUNS):
            remove_partial(path, is_ours=True)
        write_text(folder / STUDY_FILE, plan.text)
        whole, schedule = Schedule(plan, store), Schedule(plan, store, only)
        begun: dict[str, PlannedRun] = {}

        def tasks() -> Iterator[RunTask | None]:
            for run in schedule.coming(until):
                if run is not None:
                    begun[run.key] = run
                yield None if run is None else schedule.task(run)

        def end(task: RunTask, end: RunEnd) -> None:
            run = begun.pop(task.name)
            store.end(run.key, run.name, end)
            now = _write(whole, folder)
            if on_end is not None:
                on_end(run, end, now.text)

        _write(whole, folder)
        try:
            run_tasks(tasks(), connected, jobs, end)
        finally:
            write_text(folder / "provenance.json", json.dumps(provenance(store.folder), indent=2) + "\n")
        return _write(whole, folder)


def study_progress(plan: StudyPlan, out: Path | str) -> StudyProgress:
    """Return the progress of the study in folder ``out``, which need not exist; nothing is changed.

    Raises:
        InputError: the folder holds something else, or cannot be read.
    """
    folder = Path(out)
    try:
        if _is_there(folder):
            _require_study(folder)
    except OSError as error:
        raise InputError(f"out: {folder} cannot be read ({error.strerror})") from error
    return _progress(Schedule(plan, RunStore(folder)))


def _write(schedule: Schedule, folder: Path) -> StudyProgress:
    """Write all tables from the runs so far."""
    plan, store, progress = schedule.plan, schedule.store, _progress(schedule)
    done = [run_row(plan, run, store.times.get(run.key)) for run in progress.runs if run.record is not None]
    write_rows(folder, "runs", done)
    write_rows(folder, "results", progress.rows)
    write_rows(folder, "curves", curves(plan, progress.runs))
    write_text(folder / "results.md", markdown(plan, progress.rows, progress.text))
    write_text(folder / "results.tex", latex(plan, progress.rows, progress.text))
    return progress


def _progress(schedule: Schedule) -> StudyProgress:
    runs = schedule.runs()
    rates = schedule.rates(runs)
    missing = {run.key or run.name: run for run in runs if run.record is None}
    times = [schedule.seconds(run, rates) for run in missing.values()]
    known = [time for time in times if time is not None]
    seconds = sum(known) if len(known) == len(times) else None
    return StudyProgress(runs, results(schedule, runs), sum(run.record is not None for run in runs), len(runs), seconds)


def _is_there(folder: Path) -> bool:
    """Return whether there is anything at a path, a link that leads nowhere included; raise ``OSError`` if unknown."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return False
    return True


def _require_study(folder: Path) -> bool:
    """Return whether a folder holds a study, or else nothing; raise ``InputError`` if it holds something else."""
    if not (folder / STUDY_FILE).is_file():
        require_empty(folder)
        return False
    if (folder / RUNS).exists() and not (folder / RUNS).is_dir():
        raise InputError(f"{folder / RUNS}: is not a folder")
    return True


@contextmanager
def _locked(plan: StudyPlan, folder: Path) -> Iterator[None]:
    """Create the study's folder and lock it, or raise ``InputError`` if it holds something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            if not _require_study(folder):
                write_text(folder / STUDY_FILE, plan.text)  # the first file: with it, the same command goes on
        refuse_link(folder / RUNS)
        (folder / RUNS).mkdir(exist_ok=True)
        (folder / JOURNAL).touch()
        held = lock(folder / JOURNAL, "study")
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written ({error.strerror})") from error
    with held:
        yield
