"""A file of lines that another process appends to, or cuts off and goes on with, read piece by piece."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

_PIECE = 4 << 20
"""Bytes that one look reads at most."""

_LINES = 20_000
"""Lines that one look returns at most: a stranger's file may hold millions of short ones."""

_LONGEST = 16 << 20
"""Bytes of a line at most; a line of 100,000 nodes has about eight million."""

_KNOWN = 256
"""Bytes before the place of reading that are compared with what was read, to see that they were not replaced."""


class Piece(NamedTuple):
    """New lines of a file.

    Attributes:
        lines: whole lines, without their ends.
        is_anew: whether the file was cut off or replaced, so that these lines are the first that count.
        is_behind: whether more can be read at once.
    """

    lines: list[bytes]
    is_anew: bool
    is_behind: bool


class GrowingFile:
    """Reads the lines that are added to a file. A last line without an end waits for the rest of it.

    A link is not followed, and nothing but a regular file is read.

    Attributes:
        problem: the reason why nothing is read any more; empty where there is none.
    """

    def __init__(self, path: Path, tail: int | None = None) -> None:
        """Name the file, which need not exist yet.

        Args:
            path: of the file.
            tail: bytes of a longer file's end to begin with. Defaults to reading all of it.
        """
        self._path, self._tail = path, tail
        self._place, self._known, self._identity = 0, b"", (0, 0)
        self.problem = ""

    def read(self) -> Piece:
        """Return the lines since the last call; none if the file does not exist or cannot be read."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags)
        except FileNotFoundError:
            return self._forget()
        except OSError as error:
            self.problem = f"{self._path.name} cannot be read ({error.strerror})"
            return Piece([], False, False)
        try:
            return self._read(descriptor)
        except OSError as error:
            self.problem = f"{self._path.name} cannot be read ({error.strerror})"
            return Piece([], False, False)
        finally:
            os.close(descriptor)

    def _forget(self) -> Piece:
        was_read = self._place > 0
        self._place, self._known, self.problem = 0, b"", ""
        return Piece([], was_read, False)

    def _read(self, descriptor: int) -> Piece:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.problem = f"{self._path.name} is not a file"
            return Piece([], False, False)
        identity = (status.st_dev, status.st_ino)
        is_anew = self._place > 0 and (identity != self._identity or self._was_replaced(descriptor, status.st_size))
        if is_anew:
            self._forget()
        self._identity = identity
        if self._place == 0 and self._tail is not None and status.st_size > self._tail:
            self._place = self._next_line(descriptor, status.st_size - self._tail)
        if self.problem or status.st_size == self._place:
            return Piece([], is_anew, False)
        content = os.pread(descriptor, _PIECE, self._place)
        end = content.rfind(b"\n") + 1
        if not end and len(content) == _PIECE:
            content = os.pread(descriptor, _LONGEST, self._place)
            end = content.find(b"\n") + 1
            if not end and len(content) == _LONGEST:
                self.problem = f"{self._path.name} has a line longer than {_LONGEST >> 20} MiB"
        lines = content[:end].split(b"\n")[:-1]
        if len(lines) > _LINES:
            del lines[_LINES:]
            end = sum(map(len, lines)) + len(lines)
        self._place += end
        if end:
            self._known = os.pread(descriptor, min(_KNOWN, self._place), max(0, self._place - _KNOWN))
        return Piece(lines, is_anew, end > 0 and self._place < status.st_size)

    def _was_replaced(self, descriptor: int, size: int) -> bool:
        if size < self._place:
            return True
        return os.pread(descriptor, len(self._known), self._place - len(self._known)) != self._known

    def _next_line(self, descriptor: int, place: int) -> int:
        """Return the place after the first end of a line from ``place`` on, or ``place`` if there is none near."""
        return place + os.pread(descriptor, _PIECE, place).find(b"\n") + 1
