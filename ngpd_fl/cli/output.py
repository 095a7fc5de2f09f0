"""Standard output and error that survive a closed pipe or terminal: the command goes on, its output is lost."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)
"""Errors that say that nobody reads any more: a closed pipe, a closed stream, a closed terminal."""


class _Output(io.FileIO):
    """A file that discards output that cannot be written, and records the reason.

    Attributes:
        error: the first error, except that of a closed pipe or terminal.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write the data, or discard them if that fails."""
        try:
            return super().write(data)
        except OSError as error:
            if self.error is None and error.errno not in _GONE:
                self.error = error
            return len(data)


@contextmanager
def lasting_output() -> Iterator[list[OSError]]:
    """Make stdout and stderr discard output that cannot be written, instead of raising errors where it is printed.

    Streams that were closed before the process began are opened on the null device, so that no other file gets their
    numbers. Streams that were replaced, as in tests, are left alone.

    Yields:
        The errors of writing, except those of a closed pipe or terminal; complete when the context ends.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    errors: list[OSError] = []
    with ExitStack() as stack:
        if sys.stdout is None or sys.stdout is sys.__stdout__:
            sys.stdout = stack.enter_context(_lossy(sys.stdout, 1, errors))
        if sys.stderr is None or sys.stderr is sys.__stderr__:
            sys.stderr = stack.enter_context(_lossy(sys.stderr, 2, errors))
        yield errors


@contextmanager
def _lossy(before: TextIO | None, number: int, errors: list[OSError]) -> Iterator[TextIO]:
    """Yield a stream that discards output that cannot be written to a descriptor; restore the old one at the end."""
    name = "stdout" if number == 1 else "stderr"
    file = _Output(number, "w", closefd=False)
    stream = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(before, "encoding", "utf-8"),
        errors="surrogateescape" if getattr(before, "errors", "") == "surrogateescape" else "backslashreplace",
        line_buffering=number == 2 or file.isatty(),
    )
    try:
        if before is not None:
            try:
                before.flush()
            except OSError:
                pass
        yield stream
    finally:
        stream.flush()
        setattr(sys, name, before)
        if file.error is not None:
            errors.append(file.error)
