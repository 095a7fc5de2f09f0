"""Start-up of the command line: the time of each command, and the heavy packages that it imports.

Medians of 5 processes, from their start to their end. A run of one round on eight nodes is what `show` prints.

    python -m benchmarks.startup
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REPEATS = 5
HEAVY = tuple("torch flwr matplotlib scipy.stats sklearn torchvision pandas ray optuna plotly pyarrow".split())
COMMANDS = (
    ("--help",),
    ("run", "--help"),
    ("flower", "run", "--help"),
    ("keys",),
    ("topology", "--out", "OUT.png"),
    ("partition", "--out", "OUT.png"),
    ("show", "RUN"),
)

_PROGRAM = f"""
import json, sys
from ngpd_fl.cli import main
code = main(sys.argv[1:])
print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
sys.exit(code)
"""


def start(words: Sequence[str], folder: Path) -> tuple[float, list[str]]:
    """Return the seconds that a command takes in a process of its own, and the heavy packages that it imports."""
    (folder / "OUT.png").unlink(missing_ok=True)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *words], cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    imported: list[str] = json.loads(done.stderr.splitlines()[-1])
    return seconds, imported


def rows(
    commands: Sequence[Sequence[str]] = COMMANDS, repeats: int = REPEATS
) -> Iterator[tuple[str, float, list[str]]]:
    """Yield each command, its median time and the heavy packages that it imports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if any("RUN" in words for words in commands):
            start(("run", "--rounds", "1", "--out", "RUN", "--quiet"), folder)
        for words in commands:
            starts = [start(words, folder) for _ in range(repeats)]
            yield " ".join(words), statistics.median(seconds for seconds, _ in starts), starts[0][1]


def main() -> None:
    """Print a row for each command."""
    print("| command | seconds | imports |\n| --- | --- | --- |")
    for command, seconds, imported in rows():
        print(f"| `{command}` | {seconds:.2f} | {', '.join(imported) or '-'} |", flush=True)


if __name__ == "__main__":
    main()
