"""Signals that come while PyTorch must not be interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ngpd_fl import Config, run
from ngpd_fl.core import signals
from ngpd_fl.core.signals import deferred
from ngpd_fl.engines import SynchronousEngine

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def test_a_signal_is_handled_when_the_context_closes() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        steps.append("the rest")
    assert steps == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_later_one_is_handled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_IMPATIENT", 0.01)
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        for number in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            steps.append(number)
    assert steps == [0]


def test_other_threads_are_left_alone() -> None:
    found = []

    def look() -> None:
        with deferred():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_a_round_ends_before_its_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, run_round = [], SynchronousEngine.run_round

    def interrupted(engine: SynchronousEngine) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        rounds.append(engine.round)
        return run_round(engine)

    monkeypatch.setattr(SynchronousEngine, "run_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Config(strategy="dsgd", model="softmax", training={"rounds": 3}))
    assert rounds == [0]
