"""Executor on a Ray cluster that already runs (``ray start`` on each machine)."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ngpd_fl.config import InputError
from ngpd_fl.config.extras import require_extra
from ngpd_fl.core.signals import kept_handlers
from ngpd_fl.sweep.executors.executor import Executor
from ngpd_fl.sweep.executors.remote import confirmed, remote_call, remote_check
from ngpd_fl.sweep.tasks import INTERRUPTED, KILLED, RunEnd, RunTask

_ANSWER_SECONDS = 5.0
"""Time for the cluster's address to accept a connection."""

_CHECK_SECONDS = 120.0
"""Time for every machine to start a process and look at what it has."""


class RayExecutor(Executor):
    """Runs each task as a Ray task, which reserves the cores of the run, and the GPUs that its ``engine.device`` names.

    Where the program has connected to Ray itself, that connection is used.
    """

    def __init__(self, address: str | None = None) -> None:
        """Name the cluster.

        Args:
            address: ``HOST:PORT``. Defaults to ``RAY_ADDRESS``, else to the cluster of this machine.
        """
        self._address = address or os.environ.get("RAY_ADDRESS") or "auto"
        self._connected = False
        self._running: dict[Any, RunTask] = {}
        self._most_cores, self._most_gpus = 1.0, 0.0

    def __enter__(self) -> Self:
        """Connect to the cluster."""
        require_extra("ray", "--executor ray")
        import ray

        if ray.is_initialized():
            return self
        _require_answer(self._address)
        try:
            # Ray has tips for its next version, and handles SIGTERM itself, by ending the process.
            with warnings.catch_warnings(action="ignore"), kept_handlers():
                ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR)
        except (Exception, SystemExit) as error:  # Ray ends the process where it waits in vain
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"--executor ray: no cluster at {self._address} ({reason})") from error
        self._connected = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt the tasks that are left, and disconnect."""
        self.interrupt()
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False

    def prepare(self, folder: Path, jobs: int) -> None:
        """Require that each machine that can compute has the folder, the working folder and the same code."""
        import ray

        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ray-") as file:
            check, deadline = remote_check(Path(file.name)), time.monotonic() + _CHECK_SECONDS
            while True:
                machines = _machines()
                try:
                    problems = _ask(machines, check)
                    break
                except ray.exceptions.RayError as error:
                    is_new_or_gone = isinstance(error, ray.exceptions.TaskUnschedulableError)
                    if not is_new_or_gone or time.monotonic() > deadline:
                        raise InputError(f"--executor ray: a machine does not answer ({_line(error)})") from error
                    time.sleep(0.5)
        self._most_cores = max(node["Resources"]["CPU"] for node in machines)
        self._most_gpus = max(node["Resources"].get("GPU", 0.0) for node in machines)
        for node, problem in zip(machines, problems, strict=True):
            if problem:
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                raise InputError(f"--executor ray: the machine {name} {problem}")

    def submit(self, task: RunTask) -> None:
        """Submit a task; Ray starts it when a machine has room for it."""
        import ray

        num_cores = int(max(1, min(task.num_cores, self._most_cores)))
        num_gpus = min(float(task.num_gpus), self._most_gpus)
        # In a process that takes no other task, and is not tried again: the next call of the sweep does that.
        options = ray.remote(num_cpus=num_cores, num_gpus=num_gpus, max_calls=1, max_retries=0)
        self._running[options(remote_call(task, num_cores)).options(name=task.name).remote()] = task

    def wait(self) -> list[tuple[RunTask, RunEnd]]:
        """Wait until a task has ended."""
        import ray

        if not self._running:
            return []
        [reference], _ = ray.wait(list(self._running))
        task = self._running.pop(reference)
        try:
            return [(task, confirmed(task, ray.get(reference)))]
        except ray.exceptions.TaskCancelledError:
            return [(task, RunEnd(INTERRUPTED, "it was interrupted before it began"))]
        except ray.exceptions.RayError as error:  # its process died, or its machine
            return [(task, RunEnd(KILLED, _line(error)))]

    def interrupt(self) -> None:
        """Cancel all tasks: those that run are interrupted as by Ctrl-C, those that wait never begin."""
        import ray

        for reference in self._running:
            ray.cancel(reference)


def _machines() -> list[dict[str, Any]]:
    """Return Ray's descriptions of the machines that can compute."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    if not machines:
        raise InputError("--executor ray: no machine of the cluster has a core; start one with --num-cpus")
    return machines


def _ask(machines: list[dict[str, Any]], check: Callable[[], str]) -> list[str]:
    """Run a check on each machine; return the problems, empty where there is none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_calls=1)(check)
    answers = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in machines
    ]
    problems: list[str] = ray.get(answers, timeout=_CHECK_SECONDS)
    return problems


def _require_answer(address: str) -> None:
    """Raise ``InputError`` if nothing listens at ``HOST:PORT``; Ray would try for minutes, then end the process."""
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():  # "auto", or an address of another kind
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--executor ray: no cluster at {address} ({reason}); start it with `ray start`") from error


def _line(error: BaseException) -> str:
    """Return the line of Ray's message that names the cause: the last one of a traceback, else the first one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[-1 if hasattr(error, "cause") else 0].split())
