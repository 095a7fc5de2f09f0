"""A SuperNode whose messages find a process with everything imported: ``-m ngpd_fl.deploy.warm_start PROGRAM WORDS``.

Flower starts a process for every message, which would import torch each time: seconds of a small computer's time.
Here the program that it starts is ``knock``, which asks this process for a copy of itself (a fork), and the copy goes
on as Flower's own program. Only libraries are taken over: the project's code comes with the run, as ever. Where nobody
answers the knock, Flower's program is started as usual.
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
from typing import NoReturn

from ngpd_fl.deploy.supervisor import die_with, stop
from ngpd_fl.flower.launcher.app_bundle import PACKAGES
from ngpd_fl.flower.launcher.superlink_client import program

_CLIENT = "flwr-clientapp"
"""Flower's program for one message, which it finds by this name."""

_NEEDED = ("flwr.supernode.cli", "ngpd_fl.flower.client.app")
"""What every message needs, with all that these import; what else one needed is imported after it, for the next."""

_PATIENCE = 5.0
"""Seconds that a knock has to say its words."""

_GLANCE = 0.2
"""Seconds between two looks whether the SuperNode has ended."""


def main(command: Sequence[str]) -> int:
    """Run a SuperNode and serve its messages; return its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="ngpd-fl-warm-"))  # not with the state: a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen(16)
            _write_knock(folder)
            path = os.pathsep.join([str(folder), os.environ["PATH"]])
            parent = os.getpid()
            supernode = subprocess.Popen(command, env={**os.environ, "PATH": path}, preexec_fn=lambda: die_with(parent))
            try:
                _take_in(_NEEDED)
                while supernode.poll() is None:
                    if select.select([listener], [], [], _GLANCE)[0]:
                        _answer(listener, folder)
                    _take_in(_learned(folder))
            finally:
                if supernode.poll() is None:
                    stop(supernode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return supernode.returncode


def _write_knock(folder: Path) -> None:
    """Put a program into a folder that asks for a copy, under the name of the one that it replaces."""
    words = (sys.executable, "-IS", str(Path(__file__).with_name("knock.py")), str(folder / "socket"), program(_CLIENT))
    script = folder / _CLIENT
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o700)


def _answer(listener: socket.socket, folder: Path) -> None:
    """Let a copy of this process do what Flower's program was called for."""
    with listener.accept()[0] as line:
        line.settimeout(_PATIENCE)
        try:
            words = json.loads(b"".join(iter(lambda: line.recv(65536), b"")))
        except (OSError, ValueError):  # it was killed as it knocked, or was nobody's knock: the others wait
            return
    parent = os.getpid()
    if os.fork() == 0:
        die_with(parent, signal.SIGKILL)
        listener.close()
        _become(words, folder)


def _become(words: list[str], folder: Path) -> NoReturn:
    """Go on as Flower's program, and never return to what this process was."""
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
        os._exit(code)  # not through what this process would do at its end


def _learned(folder: Path) -> list[str]:
    """Return what copies that have ended had imported."""
    found: list[str] = []
    for path in folder.glob("modules-*"):
        with suppress(ChildProcessError):
            if os.waitpid(int(path.name.partition("-")[2]), os.WNOHANG) == (0, 0):
                continue
        found += path.read_text().splitlines()
        path.unlink()
    return found


def _take_in(names: Iterable[str]) -> None:
    """Import what is not imported yet; whatever cannot be will be said by who needs it."""
    for name in names:
        if name not in sys.modules and (name in _NEEDED or not _is_ours(name)):
            with suppress(BaseException):
                importlib.import_module(name)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    sys.exit(main(sys.argv[1:]))
