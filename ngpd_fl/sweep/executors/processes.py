"""Executor with processes of this machine, forked from a server that has imported all modules."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from ngpd_fl.core.machine import cores
from ngpd_fl.sweep.executors.executor import Executor
from ngpd_fl.sweep.tasks import KILLED, RunEnd, RunTask, perform

_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
_SLOW_IMPORTS = ("datasets", "flwr_datasets.partitioner", "sklearn.datasets", "torchvision", _SYMBOLS)
"""Modules that some runs need and that take seconds to import: preloaded if this process has imported them."""

_main_lock = threading.Lock()


@dataclass(frozen=True)
class _Worker:
    """Process of one run.

    Attributes:
        task: the run.
        process: the process.
        connection: receives the end of the run.
    """

    task: RunTask
    process: BaseProcess
    connection: Connection


class ProcessExecutor(Executor):
    """Runs tasks in processes of this machine, which share its cores. They end when this process does."""

    def __init__(self) -> None:
        """Start nothing yet."""
        # Forked from a server that has imported all modules but computed nothing, a process starts at once.
        self._context = multiprocessing.get_context("forkserver")
        self._workers: dict[int, _Worker] = {}
        self._num_cores = 1

    def prepare(self, folder: Path, jobs: int) -> None:
        """Share the cores."""
        imported = [name for name in _SLOW_IMPORTS if name in sys.modules]
        self._context.set_forkserver_preload(["ngpd_fl.core.fork_server", __name__, *imported])
        _start_server()
        self._num_cores = cores() // jobs

    def submit(self, task: RunTask) -> None:
        """Start a process."""
        receiving, sending = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(task, self._num_cores, sending), name=task.name)
        with _without_main():
            process.start()
        sending.close()
        self._workers[process.sentinel] = _Worker(task, process, receiving)

    def wait(self) -> list[tuple[RunTask, RunEnd]]:
        """Wait until a process has ended."""
        if not self._workers:
            return []
        ended = [self._workers.pop(sentinel) for sentinel in wait(list(self._workers)) if isinstance(sentinel, int)]
        return [(worker.task, _end(worker)) for worker in ended]

    def interrupt(self) -> None:
        """Terminate all processes."""
        for worker in self._workers.values():
            worker.process.terminate()


def _start_server() -> None:
    """Start the server from which processes are forked; Ctrl-C does not reach it before it ignores it."""
    resource_tracker.ensure_running()  # not later, as this unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _end(worker: _Worker) -> RunEnd:
    """Wait for a process and return the end of its run, or what its exit code says."""
    worker.process.join()
    code = worker.process.exitcode
    note = f"its process ended with exit code {code}"
    if code is not None and code < 0:
        note = f"its process was killed by {signal.Signals(-code).name}"
    end = RunEnd(KILLED, note)
    try:
        if worker.connection.poll():
            end = worker.connection.recv()
    except EOFError:  # killed
        pass
    worker.connection.close()
    return end


def _work(task: RunTask, num_cores: int, connection: Connection) -> None:
    """Perform a task and send its end."""
    for number in (signal.SIGINT, signal.SIGHUP):  # sent to every process of a terminal; the parent decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send(perform(task, num_cores))


def _end_with_parent() -> None:
    """Kill this process when its parent ends, even by ``kill -9``."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
