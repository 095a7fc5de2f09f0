"""Runs in processes of their own: one that raises, or is killed, stops no other."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.records import RunFolder
from ngpd_fl.training.run import resume, run

FINISHED, DIVERGED, FAILED, INTERRUPTED, KILLED = "finished", "diverged", "failed", "interrupted", "killed"
"""How a run ends. The last two were cut short: they are run again."""

_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
_SLOW = ("datasets", "flwr_datasets.partitioner", "sklearn.datasets", "torchvision", _SYMBOLS)
"""What some runs import, which takes seconds: where this process had to, because it has composed one, theirs will."""


_no_main = threading.Lock()


@dataclass(frozen=True)
class RunTask:
    """One run that is to be done.

    Attributes:
        name: what it is known by.
        folder: of its records.
        base: the configuration.
        values: what is put over it, by dotted keys; a combination that is not possible fails in its own process.
        objective: the final figure that it is run for.
    """

    name: str
    folder: Path
    base: Mapping[str, Any]
    values: Mapping[str, Any]
    objective: str


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: one of the above.
        note: why it did not finish, or what was odd about going on with it.
        value: the objective.
        seconds: that it took; None where its process did not live to say it.
    """

    status: str
    note: str = ""
    value: float | None = None
    seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run would end so again."""
        return self.status in (FINISHED, DIVERGED, FAILED)


@dataclass(frozen=True)
class Worker:
    """A process that does one run.

    Attributes:
        task: which.
        process: its process.
        said: where it says why it did not finish.
    """

    task: RunTask
    process: BaseProcess
    said: Connection


def run_tasks(
    tasks: Iterable[RunTask | None],
    jobs: int,
    on_end: Callable[[RunTask, RunEnd], None],
    checkpoint_every: int | None = None,
) -> None:
    """Do runs, ``jobs`` of them at a time; those that were cut short go on.

    Args:
        tasks: in order; the next one is asked for when there is room for it. None: there is none until a run has ended.
        jobs: processes.
        on_end: called with each run that has ended.
        checkpoint_every: as ``run`` takes it.

    Raises:
        KeyboardInterrupt: as it came, after all that runs has recorded what it had.
    """
    # A process is forked from a server that has imported what it needs but computed nothing: it starts at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["ngpd_fl.core.fork_server", __name__, *(name for name in _SLOW if name in sys.modules)]
    )
    coming = iter(tasks)
    running: dict[int, Worker] = {}
    try:
        while True:
            while len(running) < jobs and (task := next(coming, None)) is not None:
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, checkpoint_every, there), name=task.name)
                with _without_main():
                    process.start()
                there.close()
                running[process.sentinel] = Worker(task, process, here)
            if not running:
                return
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                worker = running.pop(sentinel)
                on_end(worker.task, _end(worker))
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            on_end(worker.task, _end(worker))


@contextmanager
def _without_main() -> Iterator[None]:
    """Let a new process leave the user's script alone: it needs nothing of it, and would run it where it has no guard.

    ``multiprocessing`` runs again what has a file or a module's name; others that look for ``__main__`` meanwhile find
    all that is in it.
    """
    with _no_main:
        main = sys.modules["__main__"]
        stand_in = ModuleType("__main__")
        stand_in.__dict__.update({name: value for name, value in vars(main).items() if name != "__file__"})
        stand_in.__spec__ = None
        sys.modules["__main__"] = stand_in
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _end(worker: Worker) -> RunEnd:
    """Wait for a process, and return how its run ended: by the records, else by what it said, else by its death."""
    worker.process.join()
    code = worker.process.exitcode
    status, note, seconds = KILLED, f"its process ended with exit code {code}", None
    if code is not None and code < 0:
        note = f"its process was killed by {signal.Signals(-code).name}"
    try:
        if worker.said.poll():
            status, note, seconds = worker.said.recv()
    except EOFError:  # it was killed
        pass
    worker.said.close()
    return replace(_judged(worker.task, note) if status == FINISHED else RunEnd(status, note), seconds=seconds)


def _judged(task: RunTask, note: str) -> RunEnd:
    """Return the end of a run that came to it, diverged or not."""
    folder = RunFolder.open(task.folder)
    summary = folder.summary()
    if summary["status"] == DIVERGED:
        loss = folder.metrics()[-1].train_loss
        return RunEnd(
            DIVERGED, f"in round {summary['rounds']} (training loss {'not finite' if loss is None else loss})"
        )
    value = (summary["final"] or {}).get(task.objective)
    if value is None:
        return RunEnd(DIVERGED, f"{task.objective} is not finite, or not known")
    return RunEnd(FINISHED, note, float(value))


def _work(task: RunTask, checkpoint_every: int | None, say: Connection) -> None:
    """Do a run, or go on with it where it was cut short, and say how it ended."""
    for number in (signal.SIGINT, signal.SIGHUP):  # these reach every process; the first one decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    began = time.monotonic()
    try:
        status, note = FINISHED, _run(task, checkpoint_every)
    except KeyboardInterrupt:
        status, note = INTERRUPTED, "it was interrupted"
    except InputError as error:
        status, note = FAILED, str(error)
    except Exception as error:
        status, note = FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}"
    say.send((status, note, time.monotonic() - began))


def _run(task: RunTask, checkpoint_every: int | None) -> str:
    """Do a run to its end, and return what was odd about going on with it."""
    events: list[str] = []
    folder, config = task.folder, Config.of(task.base, task.values)
    if not RunFolder.holds_run(folder):
        shutil.rmtree(folder, ignore_errors=True)  # killed before anything was recorded
        run(config, folder, checkpoint_every=checkpoint_every)
    elif not is_over(folder):
        if _without_places(RunFolder(folder).config()) != _without_places(config):
            raise InputError(f"{folder}: holds a run of another configuration; name another folder")
        resume(folder, checkpoint_every=checkpoint_every, on_event=events.append, trust_code=True)  # it is the plan's
    return "; ".join(events)


def _without_places(config: Config) -> dict[str, Any]:
    """Return a configuration but for where its data lie."""
    return config.model_dump(exclude={"data": {"data_dir", "download"}})


def is_over(folder: Path) -> bool:
    """Return whether a run came to its end, also where whoever started it was killed before it knew."""
    return (folder / "summary.json").exists() and RunFolder(folder).summary()["status"] in (FINISHED, DIVERGED)


def _die_with_parent() -> None:
    """Leave no run behind that nobody waits for, also where its parent is killed by ``kill -9``."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
