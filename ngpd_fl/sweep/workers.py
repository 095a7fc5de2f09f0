"""Runs in their own processes, so that an error in one, or its death, stops no other."""

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
from ngpd_fl.core.machine import share_cores
from ngpd_fl.records import RunFolder
from ngpd_fl.training.run import resume, run

FINISHED, DIVERGED, FAILED, INTERRUPTED, KILLED = "finished", "diverged", "failed", "interrupted", "killed"
"""Statuses of ended runs. Interrupted and killed ones are run again."""

_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
_SLOW_IMPORTS = ("datasets", "flwr_datasets.partitioner", "sklearn.datasets", "torchvision", _SYMBOLS)
"""Modules that some runs need and that take seconds to import: preloaded if this process has imported them."""

_main_lock = threading.Lock()


@dataclass(frozen=True)
class RunTask:
    """One run for a worker.

    Attributes:
        name: its name.
        folder: the folder of its records.
        base: the configuration.
        values: keys to put over it, dotted; an impossible combination fails in the worker.
        objective: the final figure to return.
    """

    name: str
    folder: Path
    base: Mapping[str, Any]
    values: Mapping[str, Any]
    objective: str


@dataclass(frozen=True)
class RunEnd:
    """End of a run.

    Attributes:
        status: one of the statuses above.
        note: why it did not finish, or warnings of resuming it.
        value: the objective.
        seconds: its duration; None if its process was killed.
    """

    status: str
    note: str = ""
    value: float | None = None
    seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run would end in the same way again."""
        return self.status in (FINISHED, DIVERGED, FAILED)


@dataclass(frozen=True)
class Worker:
    """Process of one run.

    Attributes:
        task: the run.
        process: the process.
        connection: the end of the pipe from which its status is read.
    """

    task: RunTask
    process: BaseProcess
    connection: Connection


def run_tasks(
    tasks: Iterable[RunTask | None],
    jobs: int,
    on_end: Callable[[RunTask, RunEnd], None],
    checkpoint_every: int | None = None,
) -> None:
    """Run tasks, ``jobs`` of them at a time; incomplete runs continue.

    Args:
        tasks: the tasks in order; the next one is requested when a worker is free. None means that there is no next one
            before another run has ended.
        jobs: number of processes.
        on_end: called with each run that has ended.
        checkpoint_every: number of rounds between checkpoints. Defaults to no checkpoints.

    Raises:
        KeyboardInterrupt: passed on after all workers have completed their records.
    """
    # Forked from a server that has imported all modules but computed nothing, a process starts at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["ngpd_fl.core.fork_server", __name__, *(name for name in _SLOW_IMPORTS if name in sys.modules)]
    )
    coming = iter(tasks)
    running: dict[int, Worker] = {}
    try:
        while True:
            while len(running) < jobs and (task := next(coming, None)) is not None:
                receiving, sending = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, jobs, checkpoint_every, sending), name=task.name)
                with _without_main():
                    process.start()
                sending.close()
                running[process.sentinel] = Worker(task, process, receiving)
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
    """Keep new processes from importing the user's script, which would run again where it has no main guard.

    ``multiprocessing`` imports a ``__main__`` with a file or a module name again. The stand-in has neither, but all
    other names for threads that look into ``__main__`` meanwhile.
    """
    with _main_lock:
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
    """Wait for a process and return the end of its run: from the records, else from its message or exit code."""
    worker.process.join()
    code = worker.process.exitcode
    status, note, seconds = KILLED, f"its process ended with exit code {code}", None
    if code is not None and code < 0:
        note = f"its process was killed by {signal.Signals(-code).name}"
    try:
        if worker.connection.poll():
            status, note, seconds = worker.connection.recv()
    except EOFError:  # killed
        pass
    worker.connection.close()
    return replace(_recorded_end(worker.task, note) if status == FINISHED else RunEnd(status, note), seconds=seconds)


def _recorded_end(task: RunTask, note: str) -> RunEnd:
    """Return the end of a finished or diverged run from its records."""
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


def _work(task: RunTask, jobs: int, checkpoint_every: int | None, connection: Connection) -> None:
    """Run or resume a task, and send its status, note and seconds."""
    for number in (signal.SIGINT, signal.SIGHUP):  # sent to every process of a terminal; the parent decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share_cores(jobs)
    began = time.monotonic()
    try:
        status, note = FINISHED, _run(task, checkpoint_every)
    except KeyboardInterrupt:
        status, note = INTERRUPTED, "it was interrupted"
    except InputError as error:
        status, note = FAILED, str(error)
    except Exception as error:
        status, note = FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}"
    connection.send((status, note, time.monotonic() - began))


def _run(task: RunTask, checkpoint_every: int | None) -> str:
    """Run or resume a task to its end, and return the warnings of resuming it."""
    warnings: list[str] = []
    folder, config = task.folder, Config.of(task.base, task.values)
    if not RunFolder.holds_run(folder):
        shutil.rmtree(folder, ignore_errors=True)  # killed before its first record
        run(config, folder, checkpoint_every=checkpoint_every)
    elif not is_over(folder):
        if _without_places(RunFolder(folder).config()) != _without_places(config):
            raise InputError(f"{folder}: holds a run of another configuration; name another folder")
        resume(
            folder, checkpoint_every=checkpoint_every, on_event=warnings.append, trust_code=True
        )  # trusted with the plan
    return "; ".join(warnings)


def _without_places(config: Config) -> dict[str, Any]:
    """Return a configuration without the place of its data."""
    return config.model_dump(exclude={"data": {"data_dir", "download"}})


def is_over(folder: Path) -> bool:
    """Return whether the run in a folder has finished or diverged."""
    return (folder / "summary.json").exists() and RunFolder(folder).summary()["status"] in (FINISHED, DIVERGED)


def _end_with_parent() -> None:
    """Kill this process when its parent ends, even by ``kill -9``."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
