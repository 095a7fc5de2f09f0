"""How a command ends: exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ngpd_fl.core.signals import ENDING, handled

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes. A run that diverged has failed; 130 is what shells give after Ctrl-C; SIGTERM and SIGHUP are the same."""

DEBUG = "NGPD_FL_DEBUG"
"""The environment variable that brings tracebacks back."""


class Ended(Exception):
    """A command ended early; the message is one line, meant for the user.

    Attributes:
        code: of the exit.
    """

    def __init__(self, message: str, code: int) -> None:
        """Take what to say and the exit code."""
        super().__init__(message)
        self.code = code


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do for a while what Ctrl-C does: records are completed, and all that was started stops.

    Another one after the first changes nothing: where a terminal is closed, the kernel and the shell send one each.
    """
    is_told = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            raise KeyboardInterrupt

    with handled(on_signal, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Let Ctrl-C, SIGTERM and SIGHUP set a flag for a while; a second Ctrl-C or SIGTERM interrupts."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number != signal.SIGHUP:
            raise KeyboardInterrupt
        stop.set()

    with handled(on_signal, *ENDING):
        yield stop


@contextmanager
def finishing() -> Iterator[None]:
    """Complete a run that is over: one SIGTERM or Ctrl-C changes nothing of that, a second one interrupts."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    with stopping():
        yield


def complain(error: Exception) -> int:
    """Say in one line on stderr what went wrong, and return the exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, Ended):
        _say(str(error), "" if error.code == INTERRUPTED else "error: ")
        return error.code
    # Not before: after an early Ctrl-C what this needs may be imported half, and importing it again would fail.
    from ngpd_fl.config import InputError
    from ngpd_fl.config.errors import shortened
    from ngpd_fl.config.renamed import FLAGS

    if isinstance(error, InputError):
        _say(str(error))
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        _say(shortened(f"{error.filename}: {error.strerror}"))
        return BAD_INPUT
    # The parser's own findings, e.g. an unknown flag. Their class belongs to click, or to typer where that brings its
    # own click along, so they are known by what they can do.
    if hasattr(error, "format_message"):
        option = getattr(error, "option_name", "")
        if option in FLAGS:
            _say(f"{option}: renamed to {FLAGS[option]}")
            return BAD_INPUT
        _say(shortened(error.format_message()))
        return BAD_INPUT
    _say(f"{cause(error)} ({DEBUG}=1 shows where)")
    return FAILED


def cause(error: Exception) -> str:
    """Return an unexpected error in a few words."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 300 else text[:297] + '...'}"


def _say(message: str, kind: str = "error: ") -> None:
    print(f"ngpd-fl: {kind}{' '.join(message.split())}", file=sys.stderr)
