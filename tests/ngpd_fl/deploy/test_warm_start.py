"""Messages find a process with everything imported, or else Flower's own program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT

SUPERNODE = """
knock="$(command -v flwr-clientapp)"
flwr-clientapp --help > /dev/null
until grep -q "Run a Flower ClientApp" "$LOG"; do sleep 0.1; done
rm "$(dirname "$knock")/socket"
flwr-clientapp --help | sed 's/^/alone: /'
exit 7
"""
"""What a copy says goes to the log whatever the knock's output is; what a process of one's own says does not."""


@pytest.mark.slow
def test_a_message_gets_a_copy_or_a_process_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "LOG": str(log), "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "ngpd_fl.deploy.warm_start", "sh", "-c", SUPERNODE]
    with log.open("wb") as file:
        done = subprocess.run(words, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 7, log.read_text()
    said = log.read_text()
    assert said.count("Run a Flower ClientApp") == 2 and "alone: Run a Flower ClientApp" in said
    assert list((tmp_path / "tmp").iterdir()) == []
