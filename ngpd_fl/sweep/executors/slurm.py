"""Executor on SLURM, through submitit: each task is a job of the queue."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ngpd_fl.config import InputError, choices
from ngpd_fl.config.extras import require_extra
from ngpd_fl.sweep.executors.executor import Executor
from ngpd_fl.sweep.executors.remote import confirmed, remote_call
from ngpd_fl.sweep.tasks import INTERRUPTED, KILLED, RunEnd, RunTask

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job

JOBS = "slurm"
"""Name of the folder of jobs in the folder of a sweep or a study."""

_LOGS = "*_log.out"

_POLL_SECONDS, _QUEUE_SECONDS = 0.5, 10.0
"""Times between two looks at the files of the jobs, and at the queue."""

_CANCEL_SECONDS = 90.0
"""Time for canceled jobs to end; SLURM kills them after its KillWait, 30 seconds unless set."""

_SET_HERE = {"nodes", "ntasks_per_node", "array_parallelism", "stderr_to_stdout"}
"""Options of submitit that are not for users: a run is one process, with one log."""


class SlurmExecutor(Executor):
    """Runs each task as a job of SLURM, which reserves the cores of the run unless ``cpus_per_task`` is set.

    Jobs that an earlier call left behind, because it was killed, are canceled first.
    """

    def __init__(self, settings: Mapping[str, Any], cluster: str = "slurm") -> None:
        """Set the options of the jobs.

        Args:
            settings: options of ``sbatch`` with underscores, such as ``partition``; ``time`` in minutes is needed.
            cluster: submitit's name of the cluster; ``"local"`` and ``"debug"`` need no SLURM.
        """
        self._settings, self._cluster = dict(settings), cluster
        self._submitter: AutoExecutor | None = None
        self._running: dict[Job[RunEnd], RunTask] = {}
        self._queued: set[str] = set()
        self._asked_queue = float("-inf")
        self._given_up = float("inf")

    def __enter__(self) -> Self:
        """Check the options."""
        require_extra("slurm", "--executor slurm")
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            raise InputError("--executor slurm: this machine has no sbatch; start this on a login node of the cluster")
        from submitit import SlurmExecutor as Options

        allowed = sorted(Options._valid_parameters() - _SET_HERE)
        for name in self._settings:
            if name not in allowed:
                raise InputError(f"--slurm {name}: not an option of these jobs; {choices(name, allowed)}")
        if "time" not in self._settings:
            raise InputError("--slurm time: is needed, the most minutes that a run takes, e.g. time=120")
        for name in ("time", "cpus_per_task"):
            number = self._settings.get(name, 1)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InputError(f"--slurm {name}: should be a whole number from 1 (got {number})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel the jobs that are left, and remove all of their files but the logs of jobs that died."""
        self.interrupt()
        if self._submitter is not None:
            for path in self._submitter.folder.iterdir():
                if not path.match(_LOGS):
                    path.unlink()
            with suppress(OSError):  # there are logs
                self._submitter.folder.rmdir()

    def prepare(self, folder: Path, jobs: int) -> None:
        """Cancel the jobs of an earlier call, and make the folder of jobs."""
        from submitit import AutoExecutor

        path = (folder / JOBS).absolute()
        if path.is_dir():
            self._end_left_jobs(path)
        self._submitter = AutoExecutor(path, cluster=self._cluster)

    def _end_left_jobs(self, path: Path) -> None:
        """Cancel the jobs that an earlier call left, wait until they have ended, and remove their files."""
        left = [file.name.partition("_")[0] for file in path.glob("*_submitted.pkl")]
        if left and self._cluster == "slurm":
            subprocess.run(["scancel", *left], check=False, capture_output=True)
            until = time.monotonic() + _CANCEL_SECONDS
            while any(self._is_queued(number) for number in left) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
        shutil.rmtree(path)

    def submit(self, task: RunTask) -> None:
        """Put a job into the queue."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        assert self._submitter is not None
        options: dict[str, Any] = {"job_name": task.name, "cpus_per_task": task.num_cores} | self._settings
        job_options = {f"slurm_{name}": value for name, value in options.items()}
        call = _ended_before_timeout(remote_call(task, options["cpus_per_task"]))
        try:
            self._submitter.update_parameters(timeout_min=options["time"], stderr_to_stdout=True, **job_options)
            job = self._submitter.submit(call)
        except (FailedJobError, FailedSubmissionError, TypeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            raise InputError(f"--slurm: the job was refused ({lines[-1] if lines else error})") from error
        self._queued.add(job.job_id)
        self._running[job] = task

    def wait(self) -> list[tuple[RunTask, RunEnd]]:
        """Wait until a job has left a result, or has left the queue without one."""
        while self._running:
            is_late = time.monotonic() > self._given_up
            if ended := [job for job in self._running if is_late or self._is_over(job)]:
                return [(task, self._end(job, task)) for job, task in [(job, self._running.pop(job)) for job in ended]]
            time.sleep(_POLL_SECONDS)
        return []

    def interrupt(self) -> None:
        """Cancel all jobs: those that run complete their records, those that wait never begin."""
        if self._running:
            self._given_up = time.monotonic() + _CANCEL_SECONDS
        for job in self._running:
            job.cancel(check=False)

    def _is_over(self, job: Job[RunEnd]) -> bool:
        """Return whether a job has a result, or will never have one."""
        if self._cluster != "slurm":
            return job.done()
        return _has_result(job) or not self._is_queued(job.job_id)

    def _is_queued(self, number: str) -> bool:
        """Return whether a job waits or runs, by a look at the queue a few seconds ago."""
        if time.monotonic() > self._asked_queue + _QUEUE_SECONDS:
            # Not submitit's way, by sacct: it needs accounting, which not every cluster has.
            command = ["squeue", "--me", "--noheader", "--format=%A"]
            answer = subprocess.run(command, check=False, capture_output=True, text=True)
            if answer.returncode == 0:  # else the controller is busy: as before
                self._queued = set(answer.stdout.split())
            self._asked_queue = time.monotonic()
        return number in self._queued

    def _end(self, job: Job[RunEnd], task: RunTask) -> RunEnd:
        """Return the end of a job, and remove its log unless that says why it died."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        log = job.paths.stdout
        try:
            if self._cluster != "debug" and not _has_result(job):
                raise UncompletedJobError("no result")
            end = confirmed(task, job.result())
        except (FailedJobError, UncompletedJobError):
            if self._given_up < float("inf"):
                end = RunEnd(INTERRUPTED, "it was interrupted")
            else:
                end = RunEnd(KILLED, f"its job {job.job_id} ended without a result; see {log}")
        if end.status != KILLED:
            log.unlink(missing_ok=True)
        return end


def _has_result(job: Job[RunEnd]) -> bool:
    """Return whether a job has left a result."""
    folder = job.paths.result_pickle.parent
    status = folder.stat()
    os.chown(folder, status.st_uid, status.st_gid)  # changes nothing, but a network file system then looks again
    return job.paths.result_pickle.exists()


def _ended_before_timeout(call: Callable[[], RunEnd]) -> Callable[[], RunEnd]:
    """Return the call of a job that ends as interrupted when SLURM is about to stop it; pickled by value.

    Submitit has SLURM send SIGUSR2 then. Its own answer, to start the job again, could begin in the middle of a step.
    """

    def job() -> RunEnd:
        import signal

        signal.signal(signal.SIGUSR2, lambda *_: signal.raise_signal(signal.SIGTERM))
        return call()

    return job
