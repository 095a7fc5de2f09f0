"""Supervision of a program: starts it again when it ends, and stops it in the end.

As a rule, Flower's processes watch their parents and end with them. On Linux, the others become children of this
process when they have lost their own parent, and are ended here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ngpd_fl.core.signals import ENDING, handled

SHORTEST, LONGEST = 1.0, 20.0
"""Seconds of the first pause before another start, and the bound of later ones, each twice the one before."""

_STEADY = 60.0
"""Seconds after which a program counts as stable: the next pause is the shortest again."""

_GLANCE = 0.5
"""Seconds between two checks of the program."""

_TIMEOUT, _ORPHANS = 15.0, 5.0
"""Seconds in which a program must end when asked to, and in which its orphans must end by themselves."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class _Stopped(BaseException):
    """The supervisor was asked to end."""


def keep_running(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    hindrance: Callable[[], str | None] = lambda: None,
    make_task: Callable[[], Callable[[], None]] = lambda: _nothing,
) -> None:
    """Keep a program running until SIGTERM, SIGINT or SIGHUP, then stop it and all processes that it started.

    On Linux it also ends when this process is killed: the kernel then sends it SIGTERM.

    Args:
        name: its name in messages.
        command: the program and its arguments.
        environment: its environment variables.
        hindrance: called before each start; returns the reason why the program cannot start, or None.
        make_task: called at each start; the task it returns is called regularly while the program runs.
    """
    pause = SHORTEST
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with _stoppable():
        while True:
            began, why = time.monotonic(), hindrance()
            if why is None:
                why = f"ended {_how(_watch(command, environment, make_task()))}"
            pause = SHORTEST if time.monotonic() - began > _STEADY else pause
            say(f"{name} {why}; next start in {pause:g} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)


def _nothing() -> None:
    """Do nothing."""


def say(words: str) -> None:
    """Print a line to the service's log."""
    print(f"ngpd-fl: {words}", file=sys.stderr, flush=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Leave the context silently on SIGTERM, SIGINT and SIGHUP."""

    def leave(number: int, frame: FrameType | None) -> None:
        for ending in ENDING:  # a second signal must not interrupt the stopping
            signal.signal(ending, signal.SIG_IGN)
        raise _Stopped

    with suppress(_Stopped), handled(leave, *ENDING):
        yield


def _watch(command: Sequence[str], environment: Mapping[str, str], task: Callable[[], None]) -> int:
    """Run a program to its end and return its exit code; stop it if an exception ends the wait."""
    supervisor = os.getpid()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C at a terminal reaches the supervisor alone, which stops the rest in order
        preexec_fn=lambda: die_with(supervisor),
    )
    try:
        while (code := process.poll()) is None:
            task()
            _reap(pid for pid in _children() if pid != process.pid)
            time.sleep(_GLANCE)
        return code
    finally:
        if process.returncode is None:
            stop(process)
        _end_orphans()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program, by force if necessary."""
    process.terminate()
    try:
        process.wait(_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def die_with(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent dies. A new process calls this before anything else."""
    if _prctl(_PR_SET_PDEATHSIG, number) and os.getppid() != parent:  # it has died already
        os._exit(1)


def _end_orphans() -> None:
    """Wait briefly for processes that an ended program has left behind, then end them by force."""
    deadline = time.monotonic() + _ORPHANS
    while orphans := _children():
        if time.monotonic() > deadline:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        _reap(orphans)
        time.sleep(0.1)


def _reap(pids: Iterable[int]) -> None:
    """Reap processes that have ended after their parents."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    """Return the children of this process; empty if the system does not list them."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> bool:
    """Call Linux's ``prctl``; return False on other systems, which have none."""
    if sys.platform != "linux":
        return False
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    return True


def _how(code: int) -> str:
    return f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
