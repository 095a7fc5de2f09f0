"""Real runs, what a page says in its tables, and a headless browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.training.run import run

SEEDS = (1, 2)


class Page(HTMLParser):
    """A page as its source says it.

    Attributes:
        tables: rows of texts, by the id of the table or, without one, of the section that they are in.
        links: all values of ``src`` and ``href``.
        tags: names of all elements.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.tags: list[str] = []
        self._section, self._table, self._texts = "", "", list[str]()
        self._cell = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag == "table":
            self._table = dict(attrs).get("id") or self._section
        if tag == "tr":
            self.tables.setdefault(self._table, []).append([])
        if tag in ("td", "th"):
            self._cell, self._texts = True, []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.tables[self._table][-1].append(" ".join("".join(self._texts).split()))
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._texts.append(data)


def tiny(**values: Any) -> Config:
    """A run of a moment."""
    made: dict[str, Any] = {
        "topology": {"name": "ring", "nodes": 4},
        "model": "softmax",
        "training": {"rounds": 3, "local_steps": 2},
    }
    return Config(**(made | values))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two algorithms, two seeds each, with a clock; do not write into it."""
    folder = tmp_path_factory.mktemp("runs")
    for strategy in ("ngpd", "dsgd"):
        for seed in SEEDS:
            training = {"rounds": 3, "local_steps": 2, "mode": "neighbor-synchronous"}
            run(tiny(strategy=strategy, seed=seed, training=training), folder / f"{strategy}-{seed}", event_log=True)
    return folder


@pytest.fixture
def own_runs(runs: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
