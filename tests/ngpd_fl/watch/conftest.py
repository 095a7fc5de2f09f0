"""Recorded runs, a server in a process of its own, and a browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ngpd_fl.training.run import run
from tests.ngpd_fl.cli.conftest import cli, here, quick
from tests.ngpd_fl.cli.test_output import ENVIRONMENT
from tests.ngpd_fl.report.page.conftest import browser, tiny

__all__ = ["browser", "cli", "here", "quick"]


_PATIENCE = 30.0
"""Seconds for a page to show what was written; tests may run beside others."""


class Served(NamedTuple):
    """A live page that is served: its address and its process."""

    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.address.split("/")[2].rpartition(":")[2])

    def get(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        """Ask for a path under the address; a header None is left out."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()


def until(true: Callable[[], Any]) -> None:
    """Wait until something is true; the page's policy lets no test wait inside of it."""
    end = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def served(*words: str | Path) -> Iterator[Served]:
    """Run `ngpd-fl watch` with these words until the context is over."""
    command = [sys.executable, "-m", "ngpd_fl", "watch", *map(str, words)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Served(process.stdout.readline().split()[0], process)
        finally:
            process.terminate()
            process.wait(20)


def record(folder: Path, **values: Any) -> Path:
    """Do a small run on the virtual clock, in which nodes wait, with an event log."""
    training = {"rounds": 4, "local_steps": 1, "mode": "neighbor-synchronous"}
    made = {"training": training, "devices": {"step_sigma": 0.5}, "strategy": "dsgd"}
    run(tiny(**(made | values)), folder, event_log=True)
    return folder


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an event log; do not write into it."""
    return record(tmp_path_factory.mktemp("recorded") / "run")
