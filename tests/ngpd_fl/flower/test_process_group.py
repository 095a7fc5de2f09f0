"""The process group of a command: no descendant is left, however its starter ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ngpd_fl.flower.launcher import process_group

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")

FAMILY = """
import os, signal, subprocess, sys, time
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.{}); open({!r}, 'w'); time.sleep(100)"
words = [sys.executable, "-c", sleep.format(sys.argv[2], sys.argv[1] + "/second")]
if os.fork() == 0:
    subprocess.Popen(words, start_new_session=True)
    os._exit(0)  # its child is an orphan now
subprocess.Popen([sys.executable, "-c", sleep.format("SIG_DFL", sys.argv[1] + "/first")], start_new_session=True)
time.sleep(float(sys.argv[3]))
"""


def start(folder: Path, *, orphan: str = "SIG_DFL", seconds: float = 100, end_seconds: float = 10) -> list[str]:
    """Words of a process group whose command leaves a child and an orphan, each in its own session."""
    folder.mkdir()
    source = f"import sys; sys.path[0] = {str(Path(process_group.__file__).parent)!r}; import process_group; "
    source += f"process_group._END_SECONDS = {end_seconds}; process_group.main(*sys.argv[1:])"
    family = [sys.executable, "-c", FAMILY, str(folder), orphan, str(seconds)]
    return [sys.executable, "-c", source, str(folder), *family]


def alive(folder: Path) -> list[str]:
    """Processes that have the folder among their words."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [each.parent.name] * (str(folder).encode() in each.read_bytes())
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_up(folder: Path) -> bool:
    return (folder / "first").exists() and (folder / "second").exists()


def test_all_end_when_standard_input_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    group = subprocess.Popen(start(folder), stdin=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: is_up(folder))
    assert len(alive(folder)) == 4 and group.stdin is not None
    group.stdin.close()
    group.wait(120)
    assert alive(folder) == [] and not folder.exists()


def test_all_end_when_the_starter_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    source = "import subprocess, sys, time\n"
    source += "subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True); time.sleep(100)"
    starter = subprocess.Popen([sys.executable, "-c", source, *start(folder)])
    wait_for(lambda: is_up(folder))
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_for(lambda: not folder.exists() and alive(folder) == [])


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    words = start(folder, orphan="SIG_IGN", end_seconds=0.5)
    group = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: is_up(folder))
    os.kill(group.pid, signal.SIGTERM)
    group.wait(120)
    assert alive(folder) == [] and not folder.exists()


def test_orphans_of_a_command_that_ends_by_itself_end(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    group = subprocess.Popen(start(folder, seconds=0.5), stdin=subprocess.PIPE, start_new_session=True)
    group.wait(120)
    assert alive(folder) == [] and not folder.exists()
