"""The live page in a headless browser: how fast it opens and how fluid it stays; and what ``--watch`` costs a run.

python -m benchmarks.watch
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from ngpd_fl import Config, run
from ngpd_fl.watch.beside import page_beside

NODES, ROUNDS, PAIRS = 1_000, 12, 5
SECONDS = 20.0
"""Seconds for which frames are counted."""

PACE = 0.2
"""Seconds between two evaluations of the run that is replayed to the page."""

FRAMES = """(seconds) => new Promise((done) => {
  const gaps = [];
  let before = performance.now();
  const end = before + 1000 * seconds;
  const step = (now) => {
    gaps.push(now - before);
    before = now;
    if (now < end) requestAnimationFrame(step); else done(gaps.slice(1));
  };
  requestAnimationFrame(step);
})"""
"""Returns the milliseconds between the frames of some seconds."""


def main() -> None:
    """Measure everything on this machine."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        record(folder / "run", NODES, ROUNDS)
        for what, took in opening(folder / "run").items():
            print(f"{NODES} nodes: {what} after {took:.2f} s (medians of {PAIRS} but for first visits)")
        gaps, updates = frames(folder / "run", folder / "live", SECONDS)
        gaps.sort()
        at = {share: gaps[int(share * (len(gaps) - 1))] for share in (0.5, 0.95, 0.99, 1.0)}
        print(f"{NODES} nodes: {len(gaps)} frames and {updates} updates in {SECONDS:g} s; ms between frames: ", end="")
        print(", ".join(f"{100 * share:g} % at most {gap:.0f}" for share, gap in at.items()))
        for reader in (False, True):
            wall, cpu = overhead(folder / f"pairs-{reader}", reader)
            who = "a reader of the stream" if reader else "nobody connected"
            print(f"--watch, {who}: wall time x {wall:.3f}, CPU time x {cpu:.3f} (medians of {PAIRS} pairs)")


def record(folder: Path, nodes: int, rounds: int) -> None:
    """Do a real run with an event log."""
    config = Config(
        topology={"name": "random-regular", "nodes": nodes, "degree": 4},
        partition="iid",
        strategy="dsgd",
        model="softmax",
        training={"rounds": rounds, "local_steps": 1, "mode": "neighbor-synchronous"},
        devices={"step_sigma": 0.3},
    )
    run(config, folder, event_log=True)


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a new tab of a headless browser that has drawn a page before."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        started.new_page().goto("data:text/html,<h1>warm</h1>")
        yield started
        started.close()


def opening(folder: Path) -> dict[str, float]:
    """Return the seconds from the call until the page shows the run, then also its curves, and so on."""
    shown = {
        "the run is shown": ".runs tbody tr",
        "its curves are shown": "#quality canvas",
        "its graph is shown": "#graph[data-nodes]",
    }
    times: dict[str, list[float]] = {what: [] for what in shown}
    with browser() as started, page_beside(folder) as address:
        for _ in range(PAIRS + 1):
            tab = started.new_context(viewport={"width": 1280, "height": 900}).new_page()
            start = time.perf_counter()
            tab.goto(address)
            for what, selector in shown.items():
                tab.wait_for_selector(selector, state="attached")
                times[what].append(time.perf_counter() - start)
            tab.close()
    first = {f"{what} at the first visit": took[0] for what, took in times.items()}  # it also starts the server
    return {what: median(took[1:]) for what, took in times.items()} | first


def frames(recorded: Path, folder: Path, seconds: float) -> tuple[list[float], int]:
    """Return the milliseconds between two frames while a run's records are written again, and the updates seen."""
    folder.mkdir()
    for name in ("config.toml", "environment.json"):
        shutil.copy(recorded / name, folder)
    is_over = threading.Event()
    writer = threading.Thread(target=replay, args=(recorded, folder, is_over))
    with browser() as started, page_beside(folder) as address:
        tab = started.new_page(viewport={"width": 1280, "height": 1700})
        writer.start()
        tab.goto(address)
        tab.wait_for_selector("#graph[data-nodes]")
        tab.wait_for_selector("#quality canvas")
        tab.evaluate("() => { window.updates = 0; live.on('detail', () => { window.updates += 1; }); }")
        gaps: list[float] = tab.evaluate(FRAMES, seconds)
        updates = tab.evaluate("window.updates")
        is_over.set()
        writer.join()
    return gaps, updates


def replay(recorded: Path, folder: Path, is_over: threading.Event) -> None:
    """Append the evaluations and events of a run to a folder at a steady pace, from the beginning again and again."""
    evaluations = (recorded / "metrics.jsonl").read_text().splitlines(keepends=True)
    rounds = (recorded / "events.jsonl").read_text().split('{"event": "round"}\n')
    with (folder / "metrics.jsonl").open("a") as metrics, (folder / "events.jsonl").open("a") as events:
        while not is_over.is_set():
            for evaluation, of_round in zip(evaluations, rounds, strict=False):
                metrics.write(evaluation)
                events.write(of_round + '{"event": "round"}\n')
                metrics.flush()
                events.flush()
                if is_over.wait(PACE):
                    return


def overhead(folder: Path, reader: bool) -> tuple[float, float]:
    """Return wall and CPU time of whole runs with ``--watch``, relative to the same without; medians of pairs."""
    pairs = []
    for number in range(PAIRS):
        order = [False, True] if number % 2 else [True, False]
        took = {watch: whole_run(folder / f"{number}-{watch}", watch, reader and watch) for watch in order}
        pairs.append([with_it / without for with_it, without in zip(took[True], took[False], strict=True)])
    wall, cpu = zip(*pairs, strict=True)
    return median(wall), median(cpu)


def whole_run(out: Path, watch: bool, reader: bool) -> tuple[float, float]:
    """Return wall and CPU seconds of a run's command, with all its processes."""
    words = ["run", "--topology", "torus", "--nodes", "36", "--rounds", "150", "--out", str(out), "--watch"]
    command = [sys.executable, "-m", "ngpd_fl", *(words if watch else words[:-1])]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        if reader:
            first = process.stderr.readline()
            threading.Thread(target=read_stream, args=(first.split()[-1],), daemon=True).start()
        process.communicate()
    assert process.returncode == 0
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read_stream(address: str) -> None:
    """Read what a browser reads that looks at the first run's nodes, until the server ends."""
    with suppress(OSError), urllib.request.urlopen(f"{address}stream") as stream:
        chosen = next(line for line in stream if b'"key":"' in line).split(b'"key":"')[1][:12].decode()
    with suppress(OSError), urllib.request.urlopen(f"{address}stream?run={chosen}") as stream:
        discard(stream.readline)


def discard(read: Callable[[], bytes]) -> None:
    """Read to the end."""
    while read():
        pass


if __name__ == "__main__":
    main()
