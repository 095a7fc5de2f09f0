"""Executors: they run the tasks of sweeps and studies in processes, on a Ray cluster, or as jobs of SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngpd_fl.config import InputError, choices
from ngpd_fl.sweep.executors.executor import Executor, run_tasks
from ngpd_fl.sweep.executors.processes import ProcessExecutor
from ngpd_fl.sweep.executors.ray import RayExecutor
from ngpd_fl.sweep.executors.slurm import SlurmExecutor

__all__ = ["Executor", "ProcessExecutor", "RayExecutor", "SlurmExecutor", "make_executor", "run_tasks"]

EXECUTORS = ("processes", "ray", "slurm")
"""Names of all executors."""


def make_executor(name: str, slurm: Mapping[str, Any]) -> Executor:
    """Return an executor by its name.

    Args:
        name: one of ``EXECUTORS``.
        slurm: options of SLURM's jobs; empty for the others.

    Raises:
        InputError: there is no such executor, or it has no such options.
    """
    if name not in EXECUTORS:
        raise InputError(f"--executor {name}: unknown; {choices(name, EXECUTORS)}")
    if slurm and name != "slurm":
        raise InputError(f"--slurm: sets options of --executor slurm (got {name})")
    if name == "slurm":
        return SlurmExecutor(slurm)
    return RayExecutor() if name == "ray" else ProcessExecutor()
