"""The live page beside a run, in a process of its own, so that it does not slow the run down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ngpd_fl.watch.address import PageAddress

_LAST_LOOK = 10.0
"""Seconds for the process to show browsers the end of the run."""


@contextmanager
def page_beside(folder: Path) -> Iterator[str]:
    """Serve the live page about a folder while the context is open, and yield its address.

    The process gives way to others. It ends with this one, however that ends.

    Raises:
        InputError: no port is free.
    """
    address = PageAddress.listen()
    descriptor, name = address.socket.fileno(), str(address)
    words = [sys.executable, "-P", "-m", "ngpd_fl.watch", str(descriptor), str(folder.absolute())]
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the same code as here
    )
    address.socket.close()
    try:
        yield name
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_LAST_LOOK)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def low_priority() -> None:
    """Let other processes go first, but not for so long that a browser waits for the page."""
    with suppress(OSError):
        os.nice(5)
