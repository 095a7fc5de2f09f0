"""Rounds a minute of this project and of other tools on the same job, and the seconds that each takes to start.

``tools/job.py`` describes the job. Each other file there is one tool: a script that names its requirements on top
(PEP 723) and runs in an environment of its own, which is made in the folder CACHE when it is not there; a script
without requirements runs in this project's environment. All have its version of PyTorch. One tool runs at a time. The
time of a round is the median after the first two; the start is the time of the first round beyond that.

    python -m benchmarks.side_by_side CACHE [--rounds N] [--python PROGRAM] [TOOL ...]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ngpd_fl.core.machine import cores, processor

TOOLS = Path(__file__).parent / "tools"
ROOT = TOOLS.parents[2]
WARM = 2
"""Rounds that do not count: processes load what they need, and functions are traced."""

NAMES = (
    "ngpd_fl_dsgd",
    "ngpd_fl_fedavg",
    "plain_loop",
    "flower_fedavg",
    "blazefl_fedavg",
    "fluke_fedavg",
    "gossipy_gossip",
)
LEFT_OUT = {
    "p2pfl": "not measured: its command does not explain its experiment files, and its source (GPL) is not read"
}


class Unavailable(Exception):
    """A tool that does not install, or does not run; the message is one line."""


def requirements(source: str) -> list[str]:
    """Return the requirements that a script names on top; none if it names none."""
    block = re.search(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", source)
    if block is None:
        return []
    dependencies: list[str] = tomllib.loads(re.sub(r"(?m)^# ?", "", block[1]))["dependencies"]
    return dependencies


def interpreter(tool: str, cache: Path, python: str) -> str:
    """Return the interpreter for a tool; make its environment if there is none yet."""
    needs = requirements((TOOLS / f"{tool}.py").read_text())
    if not needs:
        return sys.executable
    home = cache / tool
    done = home / "installed"
    if not done.exists():
        torch = f"torch=={version('torch').partition('+')[0]}"
        _succeed([python, "-m", "venv", "--clear", str(home)])
        _succeed([str(home / "bin/python"), "-m", "pip", "install", "--quiet", torch, *needs])
        done.touch()
    return str(home / "bin/python")


def _succeed(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(_reason(done.stderr))


def _reason(text: str) -> str:
    """Return the last line of an error's text."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no reason").strip()


def measure(tool: str, python: str, rounds: int, minutes: float) -> dict[str, Any]:
    """Run a tool; return what it reports, with rounds a minute and the seconds of its start."""
    path = {"PYTHONPATH": str(ROOT)} if python == sys.executable else {}
    environment = os.environ | path | {"ROUNDS": str(rounds)}
    command = [python, f"{tool}.py"]
    began = time.time()
    try:
        done = subprocess.run(command, cwd=TOOLS, env=environment, capture_output=True, text=True, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not done after {minutes:g} minutes") from None
    if done.returncode:
        raise Unavailable(_reason(done.stderr))
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    ends = report["ends"]
    seconds = statistics.median(after - before for before, after in zip(ends[WARM - 1 :], ends[WARM:], strict=False))
    return report | {"rounds_per_minute": 60 / seconds, "start": ends[0] - began - seconds}


def rows(tools: list[str], cache: Path, python: str, rounds: int, minutes: float) -> Iterator[str]:
    """Yield the table's rows; a tool that cannot be measured has the reason."""
    for tool in tools:
        try:
            report = measure(tool, interpreter(tool, cache, python), rounds, minutes)
        except Unavailable as error:
            yield f"| {tool} | {error} | | | |"
            continue
        versions = report["versions"]
        shown = f"{versions['tool'] or '-'}, torch {versions['torch']}, Python {versions['python']}"
        yield f"| {tool} | {report['method']} | {shown} | {report['rounds_per_minute']:.1f} | {report['start']:.1f} |"
    for tool, reason in LEFT_OUT.items():
        yield f"| {tool} | {reason} | | | |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side")
    parser.add_argument("cache", type=Path, help="folder for the tools' environments, about 6 GB each with CUDA")
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--rounds", type=int, default=8, help=f"more than {WARM}")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the environments")
    parser.add_argument("--minutes", type=float, default=10.0, help="longest time of a tool")
    arguments = parser.parse_intermixed_args()
    if unknown := set(arguments.tools) - set(NAMES):
        parser.error(f"TOOL: {min(unknown)} is not known; allowed: {', '.join(NAMES)}")
    if arguments.rounds <= WARM:
        parser.error(f"--rounds: {arguments.rounds} is too few; allowed: {WARM + 1} or more")
    load = os.getloadavg()[0]
    print(f"{datetime.date.today()}, {processor()}, {cores()} cores; load of the machine at the start: {load:.2f}\n")
    print("| tool | method | versions | rounds a minute | start, s |\n| --- | --- | --- | --- | --- |")
    for row in rows(
        arguments.tools or list(NAMES),
        arguments.cache.absolute(),
        arguments.python,
        arguments.rounds,
        arguments.minutes,
    ):
        print(row, flush=True)


if __name__ == "__main__":
    main()
