"""A process group: a command and all its descendants, which end together, also when their starter is killed.

``python process_group.py FOLDER COMMAND...`` runs the command until it ends or standard input is closed (the kernel
closes it when the starter dies), ends every descendant, and removes the folder. A POSIX process group is not enough:
Flower and Ray start sessions of their own, and processes until the very end. On Linux their orphans become children of
this process, so none is missed. Only the standard library is imported, to start fast and stay small.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import NamedTuple

_END_SECONDS = 60.0
"""Time between SIGTERM and SIGKILL, in which a run completes its records, also on a busy machine."""

_PR_SET_CHILD_SUBREAPER = 36


class _Process(NamedTuple):
    """A process; its start time tells it from a later one with the same id."""

    pid: int
    start: str


def main(folder: str, *command: str) -> None:
    """Run the command until it or standard input ends, then end its descendants and remove the folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None and not select.select([sys.stdin], [], [], 0.1)[0]:
            pass
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the descendants from the top: SIGTERM to the command first, then to every process without a parent."""
    descendants, terminated_at = _descendants(), {process.pid: time.monotonic()}
    process.terminate()
    while alive := {member: parent for member, parent in _parents().items() if member in descendants}:
        pids, now = {member.pid for member in alive}, time.monotonic()
        for member, parent in alive.items():
            if member.pid in terminated_at and now > terminated_at[member.pid] + _END_SECONDS:
                _signal(member.pid, signal.SIGKILL)
            elif member.pid not in terminated_at and parent not in pids:
                terminated_at[member.pid] = now
                _signal(member.pid, signal.SIGTERM)
        with suppress(ChildProcessError):  # orphans have become children of this process: leave no zombies
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.1)
        descendants |= _descendants()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _parents() -> dict[_Process, int]:
    """Return the parent's process id of every process."""
    command = ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lister:
        listed, _ = lister.communicate()
    parents = {}
    for line in listed.splitlines():
        pid, parent, state, start = line.split(None, 3)
        if int(pid) != lister.pid and not state.startswith("Z"):
            parents[_Process(int(pid), start)] = int(parent)
    return parents


def _descendants() -> set[_Process]:
    """Return all descendants of this process."""
    parents, descendants = _parents(), set[_Process]()
    generation = {os.getpid()}
    while children := {process for process, parent in parents.items() if parent in generation} - descendants:
        descendants |= children
        generation = {process.pid for process in children}
    return descendants


if __name__ == "__main__":
    main(*sys.argv[1:])
