"""The interface of executors, and the loop that keeps one busy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from ngpd_fl.sweep.tasks import RunEnd, RunTask


class Executor(ABC):
    """Runs tasks in processes of their own, on this machine or elsewhere; a context manager.

    An error in one task, or the death of its process, stops no other.
    """

    def __enter__(self) -> Self:
        """Connect; raise ``InputError`` if that is not possible."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt the tasks that are left, and disconnect."""
        self.interrupt()

    @abstractmethod
    def prepare(self, folder: Path, jobs: int) -> None:
        """Prepare for the tasks of a sweep or a study, before any of them begins.

        Args:
            folder: its folder, which holds those of the tasks.
            jobs: number of tasks at a time.

        Raises:
            InputError: its tasks cannot be run.
        """

    @abstractmethod
    def submit(self, task: RunTask) -> None:
        """Begin a task, at once or when there is room for it."""

    @abstractmethod
    def wait(self) -> list[tuple[RunTask, RunEnd]]:
        """Wait until a task has ended; return those that have, with their ends, and none if no task is left."""

    @abstractmethod
    def interrupt(self) -> None:
        """Ask all tasks to complete their records and to end; ``wait`` returns them."""


def run_tasks(
    tasks: Iterable[RunTask | None],
    executor: Executor,
    jobs: int,
    on_end: Callable[[RunTask, RunEnd], None],
) -> None:
    """Run tasks, ``jobs`` of them at a time; incomplete runs continue.

    Args:
        tasks: the tasks in order; the next one is requested when there is room for it. None means that there is no next
            one before another run has ended.
        executor: runs them; connected and prepared.
        jobs: number of tasks at a time.
        on_end: called with each run that has ended.

    Raises:
        InputError: the executor cannot run one of them.
        KeyboardInterrupt: passed on after all tasks have completed their records.
    """
    coming = iter(tasks)
    running = 0
    try:
        while True:
            while running < jobs and (task := next(coming, None)) is not None:
                executor.submit(task)
                running += 1
            if not running:
                return
            for task, end in executor.wait():
                running -= 1
                on_end(task, end)
    finally:
        executor.interrupt()  # those that are left after an error
        while ended := executor.wait():
            for task, end in ended:
                on_end(task, end)
