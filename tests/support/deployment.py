"""A deployment on this machine: services as a person starts them, each stopped at its end by its process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from ngpd_fl.deploy.folders import make_keys
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
OWN = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

PROXIES = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "grpc")} | {
    "all_proxy": "socks5://[::1]:9"
}
PROXIES |= {name.upper(): value for name, value in PROXIES.items()}
"""Variables that name proxies where nobody is."""


def own_address() -> str:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def wait_for(what: Callable[[], object], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(why())
        time.sleep(0.1)


class Service:
    """A command of ngpd-fl that stays up, one of ``deploy`` unless said otherwise, and its log."""

    def __init__(self, log: Path, *words: object, program: Sequence[str] = ("deploy",)) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ngpd_fl", *program, *map(str, words)],
                cwd=log.parent,
                env={**os.environ, **OWN},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 400.0) -> None:
        wait_for(lambda: words in self.said(), seconds, lambda: f"no {words!r} in\n{self.said()[-3000:]}")

    def stop(self) -> int:
        """Stop it as systemd does, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()  # the kernel ends the rest
            self.process.wait()
            raise


class Deployment:
    """A SuperLink and its nodes on this machine."""

    def __init__(self, folder: Path, nodes: int, hosts: Sequence[str] = ("127.0.0.1",)) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        make_keys(folder, hosts, nodes, 30)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def until_here(self) -> Iterator[None]:
        """Stop at the end what is started from here on."""
        before, self._stack = self._stack, ExitStack()
        try:
            with self._stack:
                yield
        finally:
            self._stack = before

    def run(self, config: Path, out: Path, *words: str) -> subprocess.Popen[str]:
        """Start a run; it is stopped at the end if it has not ended."""
        command = [sys.executable, "-m", "ngpd_fl", "deploy", "run", str(self.folder / "superlink")]
        command += ["--port", str(self.port), "--config", str(config), "--out", str(out), *words]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **OWN},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def stop() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.communicate()

        self._stack.callback(stop)
        return process

    def start(self, name: str, *words: object) -> Service:
        service = Service(self.folder / f"{name}.log", *words)
        self._stack.callback(lambda: service.process.poll() is None and service.stop())
        return service

    def superlink(self, host: str = "127.0.0.1") -> Service:
        return self.start("superlink", "superlink", self.folder / "superlink", "--host", host, "--port", self.port)

    def supernode(self, name: str, *words: object, folder: Path | None = None) -> Service:
        own = ("supernode", folder or self.folder / name, "--superlink", self.address, "--port", free_port())
        return self.start(name, *own, *words)


def family(folder: Path) -> dict[int, str]:
    """Processes that have to do with a folder, by what their command lines and environments say."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        if int(each.name) == os.getpid():
            continue
        try:
            words = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words or f"FLWR_HOME={folder}".encode() in (each / "environ").read_bytes():
                found[int(each.name)] = words
        except OSError:
            continue
    return found
