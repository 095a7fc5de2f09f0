"""Cores and memory of this machine; None where the operating system does not report them."""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")

_limit = math.inf
"""Most cores for this process, where others of ours compute beside it."""


def cores() -> int:
    """Return how many cores this process may use: the machine's, less if its affinity or its container says so."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        usable = os.cpu_count() or 1
    return max(1, math.floor(min(usable, _quota(), _limit)))


def limit_cores(number: int) -> None:
    """Use no more than this number of cores, and at least one, from now on: others of ours compute on the rest."""
    global _limit
    _limit = number


def _quota() -> float:
    """Return how many cores' time the container has; infinite where it has no limit."""
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us"):
        path = _CGROUPS / name
        try:
            quota, *rest = path.read_text().split()
            period = rest[0] if rest else path.with_name("cpu.cfs_period_us").read_text()
            if float(quota) > 0:  # not -1
                return float(quota) / float(period)
        except (OSError, ValueError):  # another version of control groups, none, or "max"
            continue
    return math.inf


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory() -> int | None:
    """Return the memory in bytes that this process may use: the machine's or, where that is less, its container's."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    try:
        return min(total, int((_CGROUPS / "memory.max").read_text()))
    except (OSError, ValueError):  # none, or "max"
        return total


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_resident()


def peak_resident() -> int:
    """Return the most bytes of memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
