"""When a run is told to end: what comes after its end changes nothing of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl import Config
from ngpd_fl.config import InputError
from ngpd_fl.core.signals import finishing
from ngpd_fl.flower.events import ClientEvent, FailureEvent, WaitingEvent
from ngpd_fl.flower.launcher.run import RunFailed, _follow
from ngpd_fl.flower.launcher.superlink_client import SuperLinkClient
from ngpd_fl.flower.run_config import FlowerConfig

INTERRUPTION = """
import os, signal, sys, time
from pathlib import Path
if sys.argv[2]:
    Path(sys.argv[1], "summary.json").write_text('{"status": "' + sys.argv[2] + '"}')
print('{"event": "waiting", "connected": 1, "expected": 2}', flush=True)
while not Path(sys.argv[1], "read").exists():
    time.sleep(0.01)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""


class FakeSuperLinkClient(SuperLinkClient):
    """A SuperLink that gives run 7 to any app; a script is the command that reads its log."""

    def __init__(self, script: str, *words: str) -> None:
        super().__init__()
        self.log = [sys.executable, "-c", script, *words]
        self.stopped: list[int] = []

    def flwr(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        answer = {"run": {"success": True, "run-id": "7"}, "list": {"runs": [RUN]}}.get(words[0], {})
        command = self.log if words[0] == "log" else [sys.executable, "-c", f"print({json.dumps(json.dumps(answer))})"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop(self, run_id: int) -> None:
        self.stopped.append(run_id)


RUN = {"run-id": "7", "status": "finished:failed", "status-details": "Flower's  words"}


def follow(superlink: SuperLinkClient, out: Path, on_event: Callable[[str], None] | None = None) -> None:
    _follow(superlink, Config(), FlowerConfig(out=out), None, on_event, out)


def printing(*lines: str) -> str:
    """Return a script that prints lines."""
    return "\n".join(f"print({line!r})" for line in lines)


def test_events_are_read_among_other_lines(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"status": "finished"}')
    events: list[str] = []
    script = printing(
        "INFO : round 1: client 2 is not an event",
        ClientEvent(round=0, client=2, what="did not answer in time").model_dump_json(),
        '{"event": "client"}',
        WaitingEvent(connected=1, expected=3).model_dump_json(),
    )
    with FakeSuperLinkClient(script) as superlink:
        follow(superlink, tmp_path, events.append)
    assert events == ["round 1: client 2 did not answer in time", "waiting for clients: 1 of 3 are there"]


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ([FailureEvent(message="nodes: no", is_input=True).model_dump_json()], InputError, "nodes: no"),
        ([FailureEvent(message="nobody can", is_input=False).model_dump_json()], RunFailed, "nobody can"),
        (["ValueError: user code"], RunFailed, "Flower's words"),
    ],
)
def test_a_run_without_a_summary_has_failed(
    lines: list[str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with FakeSuperLinkClient(printing(*lines)) as superlink, pytest.raises(error, match=f"^{message}$"):
        follow(superlink, tmp_path)


def test_a_run_that_flower_refuses_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"success": false, "error-message": "no such federation"}'
    with SuperLinkClient() as superlink, pytest.raises(RunFailed, match="did not take the run.*no such federation"):
        command = [sys.executable, "-c", f"print({answer!r})"]
        monkeypatch.setattr(
            superlink, "flwr", lambda *words, **settings: subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        )
        follow(superlink, tmp_path)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_signal_after_the_end_interrupts_nothing(status: str, tmp_path: Path) -> None:
    with FakeSuperLinkClient(INTERRUPTION, str(tmp_path), status) as superlink:
        follow(superlink, tmp_path, lambda line: (tmp_path / "read").touch())
        assert superlink.stopped == []


@pytest.mark.parametrize("status", ["", "failed"])
def test_a_signal_before_the_end_stops_the_run(status: str, tmp_path: Path) -> None:
    with FakeSuperLinkClient(INTERRUPTION, str(tmp_path), status) as superlink:
        with pytest.raises(KeyboardInterrupt):
            follow(superlink, tmp_path, lambda line: (tmp_path / "read").touch())
        assert superlink.stopped == [7]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_completes_a_run_is_interrupted_by_a_second_signal_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with finishing():
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt), finishing():
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
