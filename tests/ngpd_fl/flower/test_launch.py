"""When a run is told to end: what comes after its end changes nothing of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl import Config
from ngpd_fl.core.signals import finishing
from ngpd_fl.flower.launcher.run import _follow
from ngpd_fl.flower.launcher.superlink_client import Link
from ngpd_fl.flower.run_config import FlowerConfig

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
print("Successfully started run 7", flush=True)
if sys.argv[2]:
    Path(sys.argv[1], "summary.json").write_text('{"status": "' + sys.argv[2] + '"}')
time.sleep(2)  # until the line is read
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""


class Interrupting(Link):
    """A process in the place of ``flwr run`` that leaves a summary and then interrupts who reads it."""

    def __init__(self, out: Path, status: str) -> None:
        super().__init__()
        self.words = [sys.executable, "-c", SCRIPT, str(out), status]
        self.stopped: list[int] = []

    def flwr(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)

    def stop(self, run_id: int) -> None:
        self.stopped.append(run_id)


def follow(link: Link, out: Path) -> None:
    _follow(link, Config(), FlowerConfig(out=out), None, None, out)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_signal_after_the_end_interrupts_nothing(status: str, tmp_path: Path) -> None:
    with Interrupting(tmp_path, status) as link:
        follow(link, tmp_path)
        assert link.stopped == []


@pytest.mark.parametrize("status", ["", "failed"])
def test_a_signal_before_the_end_stops_the_run(status: str, tmp_path: Path) -> None:
    with Interrupting(tmp_path, status) as link:
        with pytest.raises(KeyboardInterrupt):
            follow(link, tmp_path)
        assert link.stopped == [7]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_completes_a_run_is_interrupted_by_a_second_signal_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with finishing():
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt), finishing():
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
