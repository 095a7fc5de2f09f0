"""Programs that are kept running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT, wait_for

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at the death of a parent")

SUPERVISOR = """
import sys
from ngpd_fl.deploy import supervisor
supervisor.SHORTEST, supervisor.LONGEST = 0.1, 0.4
supervisor._GLANCE, supervisor._ORPHANS = 0.05, 0.5
supervisor.keep_running("it", [sys.executable, "-c", sys.argv[1]], {}, hindrance=lambda: HINDRANCE)
print("done")
"""

STEADY = """
import os, time
print("started", os.getpid(), flush=True)
time.sleep(600)
"""


def supervise(tmp_path: Path, program: str, hindrance: str = "None") -> tuple[subprocess.Popen[bytes], Path]:
    log = tmp_path / "log"
    source = SUPERVISOR.replace("HINDRANCE", hindrance)
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", source, program], cwd=ROOT, stdout=file, stderr=file)
    return process, log


def started(log: Path, times: int) -> int:
    """Wait until the program has been started so often; return its latest process id."""
    wait_for(lambda: log.read_text().count("started") >= times, 120, log.read_text)
    return int(log.read_text().rpartition("started ")[2].split()[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_what_it_started(number: signal.Signals, tmp_path: Path) -> None:
    process, log = supervise(tmp_path, STEADY)
    pid = started(log, 1)
    process.send_signal(number)
    assert process.wait(120) == 0
    assert not is_alive(pid) and log.read_text().endswith("done\n")


def test_what_ends_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    process, log = supervise(tmp_path, "raise SystemExit(3)")
    wait_for(lambda: log.read_text().count("next start") >= 5, 120, log.read_text)
    process.terminate()
    assert process.wait(120) == 0
    said = [f"ngpd-fl: it ended with code 3; next start in {pause} s" for pause in ("0.1", "0.2", "0.4", "0.4", "0.4")]
    assert log.read_text().splitlines()[:5] == said


def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    process, log = supervise(tmp_path, STEADY)
    first = started(log, 1)
    os.kill(first, signal.SIGKILL)
    second = started(log, 2)
    assert second != first and "it ended by SIGKILL" in log.read_text()
    process.terminate()
    process.wait(120)
    assert not is_alive(second)


@LINUX
def test_it_ends_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    process, log = supervise(tmp_path, STEADY)
    pid = started(log, 1)
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(pid), 120, lambda: f"{pid} is alive")


def test_nothing_is_started_while_something_hinders_it(tmp_path: Path) -> None:
    process, log = supervise(tmp_path, STEADY, "'cannot: no network'")
    wait_for(lambda: log.read_text().count("it cannot: no network; next start") >= 2, 120, log.read_text)
    process.terminate()
    assert process.wait(120) == 0
    assert "started" not in log.read_text()


ORPHAN = """
import os, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
print("started", process.pid, flush=True)
time.sleep(0.3)
"""


@LINUX
def test_what_a_program_leaves_behind_is_ended_before_the_next_start(tmp_path: Path) -> None:
    """Also what is deaf, in a session of its own."""
    process, log = supervise(tmp_path, ORPHAN)
    first = started(log, 1)
    second = started(log, 2)
    assert second != first and not is_alive(first)
    process.terminate()
    process.wait(120)
    assert not is_alive(second)
