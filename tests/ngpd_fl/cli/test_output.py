"""Output that nobody reads, and signals of a terminal that is closed: what was recorded is whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ngpd_fl.cli.errors import complain
from ngpd_fl.records import RunFolder

ROOT = Path(__file__).resolve().parents[3]
RUN = "run --strategy dsgd --rounds 3 --nodes 4 --local-steps 1 --out out"
ONE = """
title = "One run"
base = {model = "softmax", topology.nodes = 3, training = {rounds = 1, local_steps = 1}}
tuning = {trials = 1}
final = {seeds = [1]}
strategies.dsgd.fixed = {strategy.name = "dsgd"}
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell and signals")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which NGPD stands for the command."""
    line = f"set -o pipefail; {line.replace('NGPD', f'{sys.executable} -m ngpd_fl')}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("where", ["<&- >&- 2>&-", "2>&1 | head -1", "2>&-"])
def test_a_run_that_nobody_listens_to_is_whole(where: str, tmp_path: Path) -> None:
    said = shell(f"NGPD {RUN} {where}", tmp_path)
    assert (said.returncode, said.stderr) == (0, ""), said
    folder = RunFolder.open(tmp_path / "out")
    assert folder.summary()["status"] == "finished" and len(folder.metrics()) == 4
    assert (tmp_path / "out" / "plots" / "partition.png").read_bytes().startswith(b"\x89PNG")
    lines = said.stdout.splitlines()
    assert len(lines) == (1 if "head" in where else 0) or "finished after 3 rounds" in said.stdout


def test_errors_do_not_go_to_stdout_where_stderr_is_closed(tmp_path: Path) -> None:
    said = shell("NGPD show nowhere 2>&-", tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (2, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_that_output_could_not_be_written_is_said(tmp_path: Path) -> None:
    said = shell("NGPD keys > /dev/full", tmp_path)
    error = "ngpd-fl: error: what was printed could not be written (No space left on device)\n"
    assert (said.returncode, said.stderr) == (1, error)


@pytest.mark.slow
def test_letters_that_the_output_cannot_hold_are_escapes(tmp_path: Path) -> None:
    said = shell(f"NGPD {RUN} --quiet && PYTHONIOENCODING=ascii NGPD show out", tmp_path)
    assert (said.returncode, said.stderr) == (0, "") and said.stdout.isascii()


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG])
def test_a_path_that_cannot_be_used_is_named(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(OSError(number, "what is wrong", "study/runs/a")) == 2
    assert capsys.readouterr().err == "ngpd-fl: error: study/runs/a: what is wrong\n"


@pytest.mark.slow
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A limit of one KiB for a file ends in one line, and nothing incomplete is left."""
    said = shell("ulimit -f 1; NGPD new mine", tmp_path)
    assert (said.returncode, said.stderr) == (2, "ngpd-fl: error: NAME: mine cannot be made (File too large)\n")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "one.toml").write_text(ONE)
    said = shell("ulimit -f 1; NGPD study one.toml --out out", tmp_path)
    line = "ngpd-fl: error: a file cannot be written (File too large); what was recorded is kept\n"
    assert (said.returncode, said.stderr) == (1, line)
    assert shell("NGPD study one.toml --out out --quiet", tmp_path).returncode == 0
    said = shell(f"ulimit -f 8; NGPD {RUN} --quiet --out run", tmp_path)  # its models are larger
    assert said.returncode == 1 and "dsgd failed after its last round: SafetensorError" in said.stderr


def start(folder: Path, *before: str) -> subprocess.Popen[str]:
    """Start a long run, and wait until it records."""
    words = [*before, sys.executable, "-m", "ngpd_fl", *RUN.replace("--rounds 3", "--rounds 100000").split()]
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    metrics = folder / "out" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or metrics.read_text().count("\n") < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_terminal_that_is_closed_sends_more_than_one_signal(tmp_path: Path) -> None:
    """The kernel and the shell send SIGHUP each, and a session's end SIGTERM: the first ends the run, in order."""
    with start(tmp_path) as process:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            time.sleep(0.002)
        assert process.wait(60) == 130
    folder = RunFolder.open(tmp_path / "out")
    assert folder.summary()["status"] == "interrupted" and "average" in folder.models()


ENDS_SLOWLY = """
import os, sys, time
from ngpd_fl.cli import main
class Library:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"late\\n")
        sleep(1)
library = Library()
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("word", "code"), [("keys", 0), ("nothing", 2)])
def test_a_signal_while_python_frees_libraries_changes_no_exit_code(
    word: str, code: int, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDS_SLOWLY, word], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None and b"late\n" in iter(process.stdout.readline, b"")
        process.send_signal(number)
        assert process.wait(60) == code


def test_nohup_stays_what_it_is(tmp_path: Path) -> None:
    with start(tmp_path, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
