"""A SuperLink of one's own: started for a run on a free port with a home of its own, and stopped after it.

The one that ``flwr run`` starts by itself stays for ever, with the environment and the folder of its first start. This
one runs under a guard, which ends it and all that it has started also when this process is killed.
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

from ngpd_fl.flower.launcher import process_group as guard
from ngpd_fl.flower.launcher.superlink_client import Link, program

_START_SECONDS = 120.0

_RAY_CHARACTERS = 40
"""Length up to which a folder can be Ray's: names of its sockets may have 107, of which it takes most for itself."""


class SuperLink(Link):
    """A local SuperLink in simulation mode; a context manager."""

    simulates = True

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Take environment variables for it and all that it starts."""
        super().__init__(environment)
        home = str(self.home)
        # Whatever is written as temporary is removed with the home.
        self.environment |= {"TMPDIR": home, "RAY_TMPDIR": home if len(home) <= _RAY_CHARACTERS else "/tmp"}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and all that it has started, and remove its home."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            with suppress(KeyboardInterrupt):  # whoever is in a hurry does not wait for it; how the run ended stays
                self._guard.wait()
            self._guard = None
        super().__exit__(kind, error, trace)

    def _start(self) -> None:
        port = _free_port()
        self.connect(f"127.0.0.1:{port}", None)
        command = [program("flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--disable-runtime-dependency-installation"]
        with self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(self.home), *command],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for this process, which then stops the others in order
            )
        deadline = time.monotonic() + _START_SECONDS
        said = ""
        while not _answers(port):
            if self._guard.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the SuperLink did not start: {said or 'it said nothing'}")
            with suppress(OSError):  # the guard removes it
                said = "".join(self.log.read_text(errors="replace").strip().splitlines()[-1:])
            time.sleep(0.05)

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.home / "superlink.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)  # which knows no proxies
    try:
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()
