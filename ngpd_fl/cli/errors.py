"""The end of a command: exit codes, and one line for any error."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes. A run that diverged has failed; 130 is what shells give after Ctrl-C; SIGTERM and SIGHUP are the same."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_THE_PATH = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM)

DEBUG = "NGPD_FL_DEBUG"
"""The environment variable that brings tracebacks back."""


class Ended(Exception):
    """A command ended early; the message is one line, meant for the user.

    Attributes:
        code: the exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        """Keep the message and the exit code."""
        super().__init__(message)
        self.code = code


def complain(error: Exception) -> int:
    """Print the error as one line on stderr, and return the exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, Ended):
        _say(str(error), "" if error.code == INTERRUPTED else "error: ")
        return error.code
    # Not before: after an early Ctrl-C what this needs may be imported half, and importing it again would fail.
    from ngpd_fl.config import InputError
    from ngpd_fl.config.errors import cause, shortened
    from ngpd_fl.config.renamed import FLAGS

    if isinstance(error, InputError):
        _say(str(error))
        return BAD_INPUT
    if isinstance(error, OSError) and error.filename and error.errno in _OF_THE_PATH:
        _say(shortened(f"{error.filename}: {error.strerror}"))
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in _FULL:
        _say(f"a file cannot be written ({error.strerror}); what was recorded is kept")
        return FAILED
    # The parser's own findings, e.g. an unknown flag. Their class belongs to click, or to typer where that brings its
    # own click along, so they are known by what they can do.
    if hasattr(error, "format_message"):
        option = getattr(error, "option_name", "")
        if option in FLAGS:
            _say(f"{option}: renamed to {FLAGS[option]}")
            return BAD_INPUT
        # typer and click each append the same suggestion
        _say(shortened(re.sub(r"( Did you mean '[^']*'\?)\1+", r"\1", error.format_message())))
        return BAD_INPUT
    _say(f"{cause(error)} ({DEBUG}=1 shows where)")
    return FAILED


def _say(message: str, kind: str = "error: ") -> None:
    print(f"ngpd-fl: {kind}{' '.join(message.split())}", file=sys.stderr)
