"""The results on the pages are those of the studies' files, and ranks are those of the studies' own tables."""

from __future__ import annotations

import csv
import importlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.testing.compare import compare_images

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "benchmarks" / "studies"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")


@pytest.fixture
def cells(scripts: None) -> Any:
    return importlib.import_module("results.cells")


def test_pages_and_pictures_are_those_of_the_files(scripts: None, tmp_path: Path) -> None:
    script = importlib.import_module("write_results")
    for name in (*script.PAGES, *script.PICTURES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for page in script.PAGES:
        shutil.copy(ROOT / page, tmp_path / page)
    script.main(tmp_path)
    for page in script.PAGES:
        assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8"), (
            f"{page} is not as the studies' files say: run scripts/write_results.py"
        )
    for name in script.PICTURES:
        assert compare_images(ROOT / name, tmp_path / name, tol=0.3) is None


def test_every_study_has_its_table_on_the_page() -> None:
    page = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in STUDIES.glob("results/*/results.csv")}
    assert folders <= set(re.findall(r"^<!-- results: ([\w-]+) -->$", page, re.MULTILINE))


def test_ranks_are_those_of_the_studies(cells: Any) -> None:
    """With every NGPD ranked, best and near are as the study's own table marks them."""
    checked = 0
    for study, own in cells.read_studies().items():
        if not own:
            continue
        with (STUDIES / "results" / study / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["role"] == "peer"]
        for cell in own:
            ranked = replace(cell, results=[replace(result, method=result.label) for result in cell.results])
            marks = [
                (row["strategy"], row["best"] == "true", row["near"] == "true")
                for row in rows
                if row["cell"] == cell.name
            ]
            names = {cells.UNTUNED: "NGPD, defaults", cells.TRACKING: "NGPD, tracking", "NGPD, tuned": "NGPD"}
            found = [
                (
                    names.get(result.label, result.label),
                    result is ranked.best,
                    result is not ranked.best and ranked.is_near(result),
                )
                for result in ranked.compared
            ]
            assert found == marks, (study, cell.name)
            checked += 1
    assert checked >= 20


def test_a_strategy_that_lost_a_run_is_never_first_or_near(cells: Any) -> None:
    sure = cells.Result("DSGD", "dsgd", True, 90.0, 1.0, 89.0, 0, 1.0)
    lost = replace(sure, label=cells.UNTUNED, mean=95.0, lost=1)
    cell = cells.Cell("study", "all", "", sorted([lost, sure], key=lambda result: result.rank, reverse=True))
    assert cell.best is sure
    assert not cell.is_near(lost)
    assert cell.is_near(replace(sure, mean=89.0))
    assert not cell.is_near(replace(sure, mean=88.9))


def test_the_words_say_where_ngpd_is_first_and_where_it_is_not(cells: Any) -> None:
    tables = importlib.import_module("results.tables")
    ngpd = cells.Result(cells.UNTUNED, "ngpd", True, 95.0, 0.5, 94.0, 0, 9.0)
    rivals = [replace(ngpd, label="DSGD", method="dsgd", mean=mean) for mean in (90.0, 97.0)]
    leads, trails = (
        cells.Cell("study", name, name, sorted([ngpd, rival], key=lambda result: result.rank, reverse=True))
        for name, rival in zip(("easy", "hard"), rivals, strict=True)
    )
    assert "first in all 1 cells.\n" in tables.summary({"study": [leads]})
    assert tables.behind({"study": [leads]}) == "In these studies NGPD is first in every cell."
    assert "first in 1 of 2 cells (50 %).\n" in tables.summary({"study": [leads, trails]})
    close = replace(trails, results=[replace(rivals[1], sd=3.0), ngpd])
    words = "first in 1 of 2 cells (50 %), and first or within one standard deviation of the first in 2.\n"
    assert words in tables.summary({"study": [leads, close]})
    behind = tables.behind({"study": [leads, trails]})
    assert "easy" not in behind and "| study, hard | 95.0 ± 0.5 | **97.0 ± 0.5** (DSGD) | 2.0 |  |" in behind
    tracked = replace(ngpd, label=cells.TRACKING, method="ngpd-tracking", mean=98.0)
    both = replace(trails, results=[tracked, rivals[1], ngpd])
    assert both.best is rivals[1]  # one NGPD is ranked
    words = tables.summary({"study": [both, leads]})
    assert "first in 1 of 2 cells (50 %).\n" in words
    assert f'With "{cells.TRACKING}" in its place, for twice the bytes, NGPD is first in all 1 cells; ' in words
    assert "; in the same cells it is first in 0 without tracking.\n" in words
    assert "**97.0 ± 0.5** (DSGD) | 2.0 | 98.0 ± 0.5 |" in tables.behind({"study": [both]})
