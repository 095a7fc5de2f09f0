"""Size of the page about 200 runs, and the time that a browser takes to open it.

python -m benchmarks.report
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from ngpd_fl import Config, run
from ngpd_fl.report import units
from ngpd_fl.report.page import write_page

STRATEGIES = ("ngpd", "ecl", "dsgd", "kfac-gossip")
GRAPHS = ("ring", "torus", "complete", "path", "exponential")
SEEDS = 10


def main() -> None:
    """Make the runs in a temporary folder, write their page and open it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        number = make_runs(folder / "runs")
        start = time.perf_counter()
        page = write_page([folder / "runs"], folder / "report.html")
        seconds = time.perf_counter() - start
        print(f"{number} runs: {units.size(page.stat().st_size)}, written in {seconds:.1f} s")
        for what, took in opening(page).items():
            print(f"{what} after {took:.2f} s")


def make_runs(
    folder: Path, strategies: tuple[str, ...] = STRATEGIES, graphs: tuple[str, ...] = GRAPHS, rounds: int = 40
) -> int:
    """Do a real run of each strategy on each graph, copy it under other seeds, and return how many there are."""
    for graph in graphs:
        for strategy in strategies:
            first = folder / f"{graph}-{strategy}-0"
            config = Config(
                topology={"name": graph, "nodes": 16},
                strategy=strategy,
                model="softmax",
                training={"rounds": rounds, "local_steps": 2, "mode": "neighbor-synchronous"},
            )
            run(config, first, event_log=True)
            for seed in range(1, SEEDS):
                copy = folder / f"{graph}-{strategy}-{seed}"
                shutil.copytree(first, copy)
                text = (copy / "config.toml").read_text(encoding="utf-8")
                (copy / "config.toml").write_text(re.sub("^seed = 0", f"seed = {seed}", text), encoding="utf-8")
    return len(graphs) * len(strategies) * SEEDS


def opening(page: Path) -> dict[str, float]:
    """Return the seconds from the call until a headless browser has loaded a page, and until it has drawn a figure."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        tab.goto(page.resolve().as_uri())
        loaded = time.perf_counter() - start
        tab.wait_for_selector(".curves .main-svg")
        drawn = time.perf_counter() - start
        browser.close()
    return {"loaded": loaded, "first figure drawn": drawn}


if __name__ == "__main__":
    main()
