"""A new user's path, timed: install the wheel in a new environment, then do all that README.md shows.

    python scripts/new_user.py [FOLDER]     # a new folder for all that is made (default: a temporary one)

Commands and program are those of the page, but for ``make``: a wheel comes without it, and ``ngpd-fl demo`` is what
``make demo`` runs. pip needs a package index. Exit code 1: a command failed, or a goal was missed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE_SECONDS, PROGRAM_LINES = 180, 15
"""Goals: the first picture comes within so many seconds, and one's own model, data and graph take fewer lines."""


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of README.md in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


def install(folder: Path) -> None:
    """Build the wheel and install it with all extras in ``folder/venv``."""
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (wheel,) = folder.glob("*.whl")
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, f"{wheel}[all]"], check=True)


def run(words: list[str], cwd: Path) -> float | None:
    """Run a command; return the seconds until its live page could be read, or None if it has none."""
    begin, opened, lines = time.monotonic(), None, []
    with subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+/", line):
                direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                assert b"<html" in direct.open(address[0], timeout=60).read()
                opened = time.monotonic() - begin
    if process.returncode:
        sys.exit(f"{shlex.join(words)}\n{''.join(lines)}")
    return opened


def cpu_seconds() -> float:
    """Return the CPU time of all processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main(folder: Path) -> None:
    """Walk the path in a folder, print what took how long, and require the goals."""
    cwd = folder / "work"
    cwd.mkdir(parents=True)
    (program,) = blocks("python")
    (cwd / "own.py").write_text(program, encoding="utf-8")
    shown = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    commands = [["ngpd-fl", "demo"], ["python", "own.py"], *(words for words in shown if words[0] != "make")]
    os.environ.pop("PYTHONPATH", None)  # the wheel is to be used, not this folder
    os.environ["PATH"] = os.pathsep.join([str(folder / "venv" / "bin"), os.environ["PATH"]])

    def show(begin: float, what: str) -> None:
        print(f"{time.monotonic() - begin:7.1f} {cpu_seconds() - cpu:7.1f}  {what}", flush=True)

    print("seconds     CPU", flush=True)
    begin, cpu = time.monotonic(), cpu_seconds()
    install(folder)
    show(begin, "installation of the wheel with all extras")
    first, pages = time.monotonic(), 0
    for words in commands:
        if words[0] == "cd":
            cwd /= words[1]
            continue
        begin, cpu = time.monotonic(), cpu_seconds()
        opened = run(words, cwd)
        show(begin, shlex.join(words))
        if opened is not None:
            print(f"{opened:7.1f}          until its live page", flush=True)
            pages += 1
        if words[1] == "demo":
            assert list(cwd.glob("runs/demo-1/plots/*.png")), "the demo drew no picture"
            assert time.monotonic() - first < PICTURE_SECONDS, "the first picture came late"
    num_lines = sum(bool(line.strip()) for line in program.splitlines())
    print(f"{num_lines} lines of Python for one's own model, data and graph")
    assert num_lines < PROGRAM_LINES and pages, "the program is long, or no command has a live page"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).absolute())
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
