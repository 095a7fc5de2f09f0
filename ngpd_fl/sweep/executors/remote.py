"""Tasks for processes on other machines, which share this machine's folders."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ngpd_fl.core.code_version import ROOT, code_version
from ngpd_fl.sweep.tasks import DIVERGED, FINISHED, KILLED, RunEnd, RunTask

_RECORDS_SECONDS = 60.0
"""Longest time until a network file system shows a file that another machine has written."""


def remote_call(task: RunTask, num_cores: int) -> Callable[[], RunEnd]:
    """Return a function that performs a task in another process.

    It holds plain values alone, so that it is pickled by value. Before it imports anything of this project or of a
    library, it enters this process's working folder and takes over its search path.
    """
    fields, path, folder = asdict(task), _search_path(), os.getcwd()

    def call() -> RunEnd:
        import os
        import sys

        os.chdir(folder)
        sys.path[:] = path
        from ngpd_fl.sweep.tasks import RunTask, perform

        return perform(RunTask(**fields), num_cores)

    return call


def remote_check(file: Path) -> Callable[[], str]:
    """Return a function that names, on another machine, what is missing there; empty if it can perform tasks.

    Args:
        file: a file that should be there.
    """
    where, path, folder, version = str(file.absolute()), _search_path(), os.getcwd(), code_version()

    def check() -> str:
        import os
        import sys

        for needed in (folder, os.path.dirname(where), where):
            if not os.path.exists(needed):
                needed = needed if needed != where else os.path.dirname(where)
                return f"has another {needed}, or none; name a folder with --out that all machines share"
        sys.path[:] = path
        try:
            from ngpd_fl.core.code_version import code_version
        except ImportError as error:
            return f"cannot import the project ({error}); install it there, or share its folder"
        return "" if code_version() == version else "has other code; install the same version there"

    return check


def _search_path() -> list[str]:
    """Return this process's search path, with the working folder last, so that nothing there hides a library.

    Where the working folder holds this project, it stays in its place: another version may be installed.
    """
    here = os.getcwd()
    paths = [path or here for path in sys.path]
    return paths if here in paths and here == str(ROOT) else [*(path for path in paths if path != here), here]


def confirmed(task: RunTask, end: RunEnd) -> RunEnd:
    """Return the end of a task once its records can be seen here; as killed if they do not come."""
    if end.status not in (FINISHED, DIVERGED):
        return end
    until = time.monotonic() + _RECORDS_SECONDS
    while not (task.folder / "summary.json").exists():
        if time.monotonic() > until:
            return RunEnd(KILLED, f"its records are not in {task.folder}: name a folder that all machines share")
        time.sleep(0.5)
    return end
