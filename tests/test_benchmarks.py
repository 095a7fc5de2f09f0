"""Logic of the benchmarks: selection and formatting of measurements."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import device, faults, modes, report, watch
from benchmarks.side_by_side import __main__ as side_by_side
from ngpd_fl.report.page import write_page
from strategies import DSGDOptions, NGPDOptions


def test_modes_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGPD_FL_DATA_DIR", raising=False)
    assert modes.straggler({"synchronous": {}}, rounds=1) == {"synchronous": None}
    monkeypatch.setattr(modes, "GOAL", 0.01)
    assert modes.straggler({"synchronous": {}, "asynchronous": {"mode": "asynchronous"}}, rounds=1) == dict.fromkeys(
        ("synchronous", "asynchronous"), 0.0
    )
    assert min(modes.cost(modes.ALGORITHMS["DSGD, 1 local step"], nodes=4, repeats=1, steps=1)) > 0
    assert min(modes.size(modes.SIZES["ecl"][0], 6, rounds=1)) > 0


def test_a_gpu_is_waited_for_as_often_in_large_rounds_as_in_small_ones() -> None:
    for options in (DSGDOptions(momentum=0.0), NGPDOptions(basis_every=100)):
        small, large = device.waits(options, 4, 2), device.waits(options, 9, 5)
        assert small._replace(uploads=0) == large._replace(uploads=0) == (0, 2, 0, 0)
        assert small.uploads <= large.uploads <= 9  # a round of few steps may have none that needs draws


def test_the_matrix_of_faults_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells for real, on digits; they are not done again, and what the others gave is in the table."""
    cells = [("none", "none", 0.0, "dsgd"), ("10 %", "heavy", 0.3, "ngpd")]
    assert len(faults.CELLS) == 72 and set(cells) <= set(faults.CELLS)
    first = faults.fill(tmp_path, None, cells[:1])
    done = faults.fill(tmp_path, None, cells)
    assert list(done) == [faults.name(cell) for cell in cells] and done | first == done
    heavy = done["ngpd, loss 30 %, staleness heavy, churn 10 %"]
    assert heavy["status"] == "finished" and heavy["age"] > done["dsgd, loss 0 %, staleness none, churn none"]["age"]
    monkeypatch.setattr(faults, "run", lambda config: pytest.fail("done again"))
    assert faults.fill(tmp_path, None, cells) == done
    (row,) = [line for line in faults.table(done) if line.startswith("| 10 % | heavy | ngpd ")]
    assert row.endswith(f"|  |  |  | {100 * heavy['nodes']:.1f} |")


def test_the_table_of_byzantine_nodes(tmp_path: Path) -> None:
    """On digits: a very small clip keeps attacks out, and a Byzantine node is not counted among the honest."""
    cells: list[faults.ByzantineCell] = [("dsgd", "gaussian", None), ("dsgd", "gaussian", 1e-6), ("dsgd", "none", 1e-6)]
    done = faults.fill_byzantine(tmp_path, None, cells)
    attacked, clipped, honest = (done[faults.byzantine_name(cell)]["honest"] for cell in cells)
    assert attacked < clipped == pytest.approx(honest, abs=0.01)
    (row,) = [line for line in faults.byzantine_table(done) if line.startswith("| dsgd | none ")]
    assert row == f"| dsgd | none |  |  | {100 * attacked:.1f} |"


def test_what_must_hold_under_faults() -> None:
    def cell(nodes: float, status: str = "finished") -> dict[str, Any]:
        return {"status": status, "nodes": nodes}

    good = {"ngpd, loss 0 %, staleness none, churn none": cell(0.98)}
    lossy = "ngpd, loss 10 %, staleness none, churn none"
    assert faults.failures({**good, lossy: cell(0.971)}) == []
    assert faults.failures({**good, lossy: cell(0.969)}) == [
        "ngpd, staleness none, churn none: loses more than 1 points"
    ]
    assert faults.failures({**good, "ecl, loss 0 %, staleness none, churn none": cell(0.1, "diverged")}) == [
        "ecl, loss 0 %, staleness none, churn none: diverged"
    ]


def test_a_page_is_about_as_many_runs_as_there_are_seeds(tmp_path: Path) -> None:
    number = report.make_runs(tmp_path / "runs", strategies=("dsgd",), graphs=("ring",), rounds=1)
    text = write_page([tmp_path / "runs"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert number == report.SEEDS and f"{number} runs of 1 configuration" in text


@pytest.mark.slow
def test_frames_are_counted_while_a_run_comes(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine")
    watch.record(tmp_path / "run", nodes=12, rounds=3)
    gaps, updates = watch.frames(tmp_path / "run", tmp_path / "live", seconds=3.0)
    assert updates >= 2 and len(gaps) > 20 and sum(gaps) == pytest.approx(3000, rel=0.5)


TOOL = """# /// script
# requires-python = ">=3.11"
# dependencies = ["one", "two>=2"]  # why
# ///
import json, os, time
ends = [time.time() + 4 + 2 * n for n in range(int(os.environ["ROUNDS"]))]
print(json.dumps({"method": "FedAvg", "versions": {"tool": "1.0", "torch": "2", "python": "3"}, "ends": ends}))
"""


def test_tools_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool's speed without its start; a tool that fails has its reason in the table."""
    assert side_by_side.requirements(TOOL) == ["one", "two>=2"]
    (tmp_path / "good.py").write_text(TOOL.partition("# ///\n")[2])
    (tmp_path / "bad.py").write_text("raise ValueError('no such network')")
    monkeypatch.setattr(side_by_side, "TOOLS", tmp_path)
    good, bad, *_ = side_by_side.rows(["good", "bad"], tmp_path, sys.executable, rounds=4, minutes=1)
    cells = [cell.strip() for cell in good.split("|")]
    assert cells[1:5] == ["good", "FedAvg", "1.0, torch 2, Python 3", "30.0"]
    assert 2 <= float(cells[5]) < 4
    assert bad.startswith("| bad | ValueError: no such network |")
