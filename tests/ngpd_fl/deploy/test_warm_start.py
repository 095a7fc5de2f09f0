"""Warm start: a message gets a fork with everything imported, or else Flower's own program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT, family, wait_for

SUPERNODE = """
client="$(command -v flwr-clientapp)"
flwr-clientapp --help > /dev/null
until grep -q "Run a Flower ClientApp" "$LOG"; do sleep 0.1; done
rm "$(dirname "$client")/socket"
flwr-clientapp --help | sed 's/^/alone: /'
exit 7
"""
"""A fork writes to the log wherever the client's output goes; a process of its own does not."""


@pytest.mark.slow
def test_a_message_gets_a_fork_or_a_process_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "LOG": str(log), "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "ngpd_fl.deploy.warm_start", "sh", "-c", SUPERNODE]
    with log.open("wb") as file:
        done = subprocess.run(words, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 7, log.read_text()
    output = log.read_text()
    assert output.count("Run a Flower ClientApp") == 2 and "alone: Run a Flower ClientApp" in output
    assert list((tmp_path / "tmp").iterdir()) == []


SLOW = """
import os, time
open(os.environ["LOG"], "w").close()
try:
    time.sleep(600)
except CATCHES:
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("catches", ["KeyError", "BaseException"])
def test_a_signal_during_the_imports_ends_it(number: signal.Signals, catches: str, tmp_path: Path) -> None:
    """Also where the module that is being imported catches everything."""
    log = tmp_path / "log"
    (tmp_path / "slow.py").write_text(SLOW.replace("CATCHES", catches))
    source = "from ngpd_fl.deploy import warm_start; warm_start._NEEDED = ('slow',); warm_start.main(['sleep', '600'])"
    environment = {**os.environ, "LOG": str(log), "TMPDIR": str(tmp_path), "FLWR_HOME": str(tmp_path)}
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    process = subprocess.Popen([sys.executable, "-c", source], env={**environment, "PYTHONPATH": path})
    wait_for(log.exists, 120, lambda: "nothing is imported")
    process.send_signal(number)
    assert process.wait(120) == 0
    assert family(tmp_path) == {}
