"""A study from its plan to its tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ngpd_fl.config import InputError
from ngpd_fl.records import require_empty
from ngpd_fl.records.files import lock, remove_partial, write_text
from ngpd_fl.records.rows import Row, write_rows
from ngpd_fl.study.plan import PLAN, Plan
from ngpd_fl.study.provenance import provenance
from ngpd_fl.study.results import results, run_row
from ngpd_fl.study.runs import JOURNAL, RUNS, Runs
from ngpd_fl.study.schedule import Schedule, Slot
from ngpd_fl.study.tables import latex, markdown
from ngpd_fl.sweep.workers import End, Task, run_tasks


class Standing(NamedTuple):
    """How far a study is.

    Attributes:
        slots: all of its runs, in the order of work.
        rows: of the table of results.
        done: how many of the slots are over.
        total: how many slots there are.
        seconds: that one process would need for the rest; None where no run has ended yet that would tell.
    """

    slots: list[Slot]
    rows: list[Row]
    done: int
    total: int
    seconds: float | None

    @property
    def words(self) -> str:
        """E.g. ``7 of 12 runs done``."""
        return f"{self.done} of {self.total} runs done"


def study(
    plan: Plan,
    out: Path | str,
    jobs: int = 1,
    *,
    seconds: float | None = None,
    only: str | None = None,
    on_end: Callable[[Slot, End, str], None] | None = None,
) -> Standing:
    """Run what is missing of a study.

    Args:
        plan: what is to be found out.
        out: its folder, new or of an earlier call.
        jobs: runs at a time, each in a process of its own.
        seconds: no run is begun that would, by those before it, end later than in so many seconds; None: no limit.
        only: a cell's values and a strategy's label, with slashes between: nothing else is run.
        on_end: called with each run that has ended, how, and how far the study is.

    Returns:
        How far it is now.

    Raises:
        InputError: the folder cannot be used; nothing was changed.
        KeyboardInterrupt: as it came, after what was recorded has been completed.
    """
    folder = Path(out)
    if jobs < 1:
        raise InputError(f"jobs: {jobs} runs at a time; allowed: 1 and more")
    plan.selected(only)
    until = None if seconds is None else time.monotonic() + seconds
    _prepare(folder)
    with lock(folder / JOURNAL, "study"):
        for path in (folder, folder / RUNS):
            remove_partial(path, is_ours=True)
        write_text(folder / PLAN, plan.text)
        runs = Runs(folder)
        runs.take_over()
        whole, schedule = Schedule(plan, runs), Schedule(plan, runs, only)
        begun: dict[str, Slot] = {}

        def tasks() -> Iterator[Task | None]:
            for slot in schedule.coming(until):
                if slot is not None:
                    begun[slot.key] = slot
                yield None if slot is None else schedule.task(slot)

        def end(task: Task, end: End) -> None:
            slot = begun.pop(task.name)
            runs.end(slot.key, slot.name, end)
            now = _write(whole, folder)
            if on_end is not None:
                on_end(slot, end, now.words)

        _write(whole, folder)
        try:
            run_tasks(tasks(), jobs, end)
        finally:
            write_text(folder / "provenance.json", json.dumps(provenance(runs.folder), indent=2) + "\n")
        return _write(whole, folder)


def standing(plan: Plan, out: Path | str) -> Standing:
    """Return how far a study is, and change nothing; ``out`` need not be there yet."""
    return _standing(Schedule(plan, Runs(Path(out))))


def _write(schedule: Schedule, folder: Path) -> Standing:
    """Write all tables from the runs that there are."""
    plan, runs, found = schedule.plan, schedule.runs, _standing(schedule)
    done = [run_row(plan, slot, runs.times.get(slot.key)) for slot in found.slots if slot.record is not None]
    write_rows(folder, "runs", done)
    write_rows(folder, "results", found.rows)
    write_text(folder / "results.md", markdown(plan, found.rows, found.words))
    write_text(folder / "results.tex", latex(plan, found.rows, found.words))
    return found


def _standing(schedule: Schedule) -> Standing:
    slots = schedule.slots()
    rates = schedule.rates(slots)
    missing = {slot.key or slot.name: slot for slot in slots if slot.record is None}
    times = [schedule.seconds(slot, rates) for slot in missing.values()]
    known = [each for each in times if each is not None]
    seconds = sum(known) if len(known) == len(times) else None
    return Standing(slots, results(schedule, slots), sum(s.record is not None for s in slots), len(slots), seconds)


def _prepare(folder: Path) -> None:
    """Let the folder be one of a study; raise ``InputError`` where it holds something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / PLAN).is_file():
            require_empty(folder)
        (folder / RUNS).mkdir(exist_ok=True)
        (folder / JOURNAL).touch()
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written ({error.strerror})") from error
