"""A SuperLink for one run: started on a free port with its own home, and stopped after the run.

The SuperLink that ``flwr run`` starts stays, with the environment and the folder of its first start. This one runs in a
process group, which ends it and all its descendants, also when this process is killed.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ngpd_fl.flower.launcher import process_group
from ngpd_fl.flower.launcher.superlink_client import SuperLinkClient, program

_START_SECONDS = 120.0

_RAY_CHARACTERS = 40
"""Longest path of a folder for Ray: socket paths have at most 107 characters, and Ray's own part takes most."""


class SuperLink(SuperLinkClient):
    """A local SuperLink in simulation mode; a context manager."""

    simulates = True

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Prepare a SuperLink; ``environment`` holds further variables for it and all its descendants."""
        super().__init__(environment)
        home = str(self.home)
        # Temporary files are removed with the home.
        self.environment |= {"TMPDIR": home, "RAY_TMPDIR": home if len(home) <= _RAY_CHARACTERS else "/tmp"}
        self._process_group: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the SuperLink and wait until it answers."""
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the SuperLink and all its descendants, and remove its home."""
        if self._process_group is not None:
            assert self._process_group.stdin is not None
            self._process_group.stdin.close()
            with suppress(KeyboardInterrupt):  # a second Ctrl-C stops only the waiting
                self._process_group.wait()
            self._process_group = None
        super().__exit__(kind, error, trace)

    def _start(self) -> None:
        port = _free_port()
        self.connect(f"127.0.0.1:{port}", None)
        command = [program("flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--disable-runtime-dependency-installation"]
        with self.log.open("wb") as log:
            self._process_group = subprocess.Popen(
                [sys.executable, "-I", process_group.__file__, str(self.home), *command],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops the others in order
            )
        deadline = time.monotonic() + _START_SECONDS
        last_line = ""
        while not _answers(port):
            if self._process_group.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the SuperLink did not start: {last_line or 'its log is empty'}")
            with suppress(OSError):  # the process group removes it
                last_line = "".join(self.log.read_text(errors="replace").strip().splitlines()[-1:])
            time.sleep(0.05)

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.home / "superlink.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)  # ignores proxies
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
