"""Runs as tasks for other processes: what is to be run, and how it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.core.machine import limit_cores
from ngpd_fl.core.signals import terminated_like_interrupted
from ngpd_fl.records import RunFolder
from ngpd_fl.records.files import StillRunning, refuse_link
from ngpd_fl.training.run import resume, run

FINISHED, DIVERGED, FAILED, INTERRUPTED, KILLED = "finished", "diverged", "failed", "interrupted", "killed"
"""Statuses of ended runs. Interrupted and killed ones are run again."""


@dataclass(frozen=True)
class RunTask:
    """One run for a process of its own.

    Attributes:
        name: its name.
        folder: the folder of its records.
        base: the configuration.
        values: keys to put over it, dotted; an impossible combination fails in the process.
        objective: the final figure to return.
        checkpoint_every: number of rounds between checkpoints. Defaults to no checkpoints.
    """

    name: str
    folder: Path
    base: Mapping[str, Any]
    values: Mapping[str, Any]
    objective: str
    checkpoint_every: int | None = None

    @property
    def num_cores(self) -> int:
        """Number of cores that the run asks for: its ``engine.workers``, one where that is ``"auto"``."""
        workers = self._engine("workers")
        return workers if isinstance(workers, int) else 1

    @property
    def num_gpus(self) -> int:
        """Number of GPUs that the run asks for: those that its ``engine.device`` names."""
        return str(self._engine("device")).count("cuda")

    def _engine(self, name: str) -> Any:
        try:
            return getattr(Config.of(self.base, self.values).engine, name)
        except InputError:  # it fails in its process
            return None


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


def perform(task: RunTask, num_cores: int) -> RunEnd:
    """Run or resume a task in this process, which takes no other, and return its end.

    A signal that asks the process to end ends the run, whose records are completed first.

    Args:
        task: the task.
        num_cores: number of cores that it may use, at most.
    """
    limit_cores(num_cores)
    began = time.monotonic()
    try:
        with terminated_like_interrupted():
            end = _recorded_end(task, _run(task))
    except KeyboardInterrupt:
        end = RunEnd(INTERRUPTED, "it was interrupted")
    except StillRunning as error:
        end = RunEnd(KILLED, str(error))
    except InputError as error:
        end = RunEnd(FAILED, str(error))
    except Exception as error:
        end = RunEnd(FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return replace(end, seconds=time.monotonic() - began)


def _run(task: RunTask) -> str:
    """Run or resume a task to its end, and return the warnings of resuming it."""
    warnings: list[str] = []
    folder, config = task.folder, Config.of(task.base, task.values)
    refuse_link(folder)
    if not RunFolder.holds_run(folder):
        shutil.rmtree(folder, ignore_errors=True)  # killed before its first record
        run(config, folder, checkpoint_every=task.checkpoint_every)
    elif not is_over(folder):
        if _without_places(RunFolder(folder).config()) != _without_places(config):
            raise InputError(f"{folder}: holds a run of another configuration; name another folder")
        resume(
            folder, checkpoint_every=task.checkpoint_every, on_event=warnings.append, trust_code=True
        )  # trusted with the plan
    return "; ".join(warnings)


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


def _without_places(config: Config) -> dict[str, Any]:
    """Return a configuration without the place of its data."""
    return config.model_dump(exclude={"data": {"data_dir", "download"}})


def is_over(folder: Path) -> bool:
    """Return whether the run in a folder has finished or diverged."""
    return (folder / "summary.json").exists() and RunFolder(folder).summary()["status"] in (FINISHED, DIVERGED)
