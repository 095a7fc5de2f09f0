"""Warm start of the processes that handle a SuperNode's messages.

Usage: ``python -m ngpd_fl.deploy.warm_start PROGRAM WORDS``.

Flower starts a process for every message, which would import torch each time: seconds on a small computer. Here it
starts ``warm_start_client.py`` instead, which asks this process to fork. The fork already has the libraries and becomes
Flower's own program. The project's code still comes with the run. If this process does not answer, the client starts
Flower's program as usual.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ngpd_fl.core.code_version import PACKAGES
from ngpd_fl.deploy import warm_start_client
from ngpd_fl.deploy.supervisor import die_with, stop
from ngpd_fl.flower.launcher.superlink_client import program

_CLIENT = "flwr-clientapp"
"""Name of Flower's program for one message."""

_NEEDED = ("flwr.supernode.cli", "ngpd_fl.flower.client.app")
"""Modules that every message needs. Modules that one message imports beyond these are imported for the next."""

_REQUEST_SECONDS = 5.0
"""Time that a client has to send its request."""

_POLL = 0.2
"""Seconds between two checks whether the SuperNode has ended."""


def main(command: Sequence[str]) -> int:
    """Run a SuperNode and serve its messages, until it ends or a signal comes; return its exit code."""
    has_signal = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal has_signal
        has_signal = True  # also where a module that is being imported catches the exception
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    folder = Path(tempfile.mkdtemp(prefix="ngpd-fl-warm-"))  # not with the state: a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen(16)
            _write_client(folder)
            path = os.pathsep.join([str(folder), os.environ["PATH"]])
            parent = os.getpid()
            supernode = subprocess.Popen(command, env={**os.environ, "PATH": path}, preexec_fn=lambda: die_with(parent))
            try:
                _import(_NEEDED)
                while supernode.poll() is None and not has_signal:
                    if select.select([listener], [], [], _POLL)[0]:
                        _answer(listener, folder)
                    _import(_learned(folder))
            finally:
                if supernode.poll() is None:
                    stop(supernode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return supernode.returncode


def _write_client(folder: Path) -> None:
    """Write the program that Flower starts instead of its own, under the same name."""
    client = str(Path(warm_start_client.__file__))
    words = (sys.executable, "-IS", client, str(folder / "socket"), program(_CLIENT))
    script = folder / _CLIENT
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o700)


def _answer(listener: socket.socket, folder: Path) -> None:
    """Fork, and run Flower's program in the fork with the arguments that the client sends."""
    with listener.accept()[0] as connection:
        connection.settimeout(_REQUEST_SECONDS)
        try:
            words = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        except (OSError, ValueError):  # the client was killed, or is no client
            return
    parent = os.getpid()
    if os.fork() == 0:
        die_with(parent, signal.SIGKILL)
        listener.close()
        _become(words, folder)


def _become(words: list[str], folder: Path) -> NoReturn:
    """Run Flower's program and exit: the fork must not return to the parent's code."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        sys.argv = [_CLIENT, *words]
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        from flwr.supernode.cli import flwr_clientapp

        flwr_clientapp()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            (folder / f"modules-{os.getpid()}").write_text("\n".join(sys.modules))
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # skips the exit handlers of the parent


def _learned(folder: Path) -> list[str]:
    """Return the modules that finished forks had imported."""
    modules: list[str] = []
    for path in folder.glob("modules-*"):
        with suppress(ChildProcessError):
            if os.waitpid(int(path.name.partition("-")[2]), os.WNOHANG) == (0, 0):
                continue
        modules += path.read_text().splitlines()
        path.unlink()
    return modules


def _import(names: Iterable[str]) -> None:
    """Import the modules that are not imported yet. A module that fails here raises its error where it is needed."""
    for name in names:
        if name not in sys.modules and (name in _NEEDED or not _is_ours(name)):
            with suppress(Exception):
                importlib.import_module(name)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
