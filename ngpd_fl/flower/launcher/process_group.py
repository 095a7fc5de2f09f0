"""Runs a command, and takes down all that descends from it when told to or when whoever started this is gone.

``python guard.py FOLDER COMMAND...`` waits for the end of its standard input, which comes also where the starter is
killed, and removes the folder last. Flower and Ray begin sessions of their own and start processes until the very end;
on Linux the orphans among them become children of this process, so that none is missed. Nothing but the standard
library is imported: this is there at once, and small while it waits.
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

_PATIENCE = 10.0
"""Seconds that a process has to end when it is asked to, in which a run completes its records; then it is killed."""

_PR_SET_CHILD_SUBREAPER = 36


class _Process(NamedTuple):
    """A process; its start tells it from a later one with the same number."""

    pid: int
    start: str


def main(folder: str, *command: str) -> None:
    """Run the command until standard input or the command ends, then see that nothing is left of it."""
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
    """Ask all to end, from above: first the process, then whoever has lost its parent."""
    family, asked = _descendants(), {process.pid: time.monotonic()}
    process.terminate()
    while left := {each: parent for each, parent in _table().items() if each in family}:
        pids, now = {each.pid for each in left}, time.monotonic()
        for each, parent in left.items():
            if each.pid in asked and now > asked[each.pid] + _PATIENCE:
                _signal(each.pid, signal.SIGKILL)
            elif each.pid not in asked and parent not in pids:
                asked[each.pid] = now
                _signal(each.pid, signal.SIGTERM)
        with suppress(ChildProcessError):  # do not leave those as zombies that have become its own
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.1)
        family |= _descendants()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _table() -> dict[_Process, int]:
    """Return every process with its parent's id."""
    command = ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lister:
        listed, _ = lister.communicate()
    found = {}
    for line in listed.splitlines():
        pid, parent, state, start = line.split(None, 3)
        if int(pid) != lister.pid and not state.startswith("Z"):
            found[_Process(int(pid), start)] = int(parent)
    return found


def _descendants() -> set[_Process]:
    """Return all that descends from this process."""
    table, family = _table(), set[_Process]()
    parents = {os.getpid()}
    while fresh := {process for process, parent in table.items() if parent in parents} - family:
        family |= fresh
        parents = {process.pid for process in fresh}
    return family


if __name__ == "__main__":
    main(*sys.argv[1:])
