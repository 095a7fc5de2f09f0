"""Signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""All signals that ask a process to end."""

_IMPATIENT = 1.0
"""Seconds after which a second signal is no longer held back."""


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Handle these signals while the context is open.

    SIGHUP stays ignored where it is, as ``nohup`` requires. In another thread than the main one, which
    alone may set handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Undo in the end what a library has set as handlers of the signals that ask this process to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in ENDING if (handler := signal.getsignal(number)) is not None}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Hold signals back until the context closes, then handle them.

    ``torch.func.vmap`` cannot be interrupted: an exception inside it may leave PyTorch's stack of levels broken, and
    then no model can be evaluated or saved. A signal that comes later than a second after the first is handled at
    once, so that users need not wait for the end of a long round.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}
    came: dict[signal.Signals, float] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if came and time.monotonic() - min(came.values()) > _IMPATIENT:
            handlers[signal.Signals(number)](number, frame)
        came.setdefault(signal.Signals(number), time.monotonic())

    for number in handlers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in came:
        handlers[number](number, None)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on SIGTERM and SIGHUP while the context is open.

    Only the first signal counts: when a terminal is closed, the kernel and the shell send one each.
    """
    is_interrupted = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            is_interrupted = True
            raise KeyboardInterrupt

    with handled(on_signal, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def last_of_process() -> Iterator[None]:
    """Let a process end by itself once the context closes: SIGTERM and SIGHUP are ignored from then on.

    Python frees libraries such as torch for half a second after all is done. A signal in that time would replace the
    exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    for number in numbers:  # not ignored yet: programs that are started inside would inherit that
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set a flag on Ctrl-C, SIGTERM or SIGHUP; a second Ctrl-C or SIGTERM raises ``KeyboardInterrupt``."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number != signal.SIGHUP:
            raise KeyboardInterrupt
        stop.set()

    with handled(on_signal, *ENDING):
        yield stop


@contextmanager
def finishing() -> Iterator[None]:
    """Complete a finished run: one SIGTERM or Ctrl-C is ignored, a second one raises ``KeyboardInterrupt``."""
    with stopping():
        yield
