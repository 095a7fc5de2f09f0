"""A study's page has its cells, its labels and its final runs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.report.page import write_page
from tests.ngpd_fl.report.page.conftest import Page


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def study(own_runs: Path) -> Path:
    """NGPD's two seeds in both cells, DSGD's first as a reference of one of them, its second a trial."""
    folder = own_runs.parent
    rows: list[dict[str, object]] = []
    for cell in ("ring/iid", "ring/skewed"):
        for seed in (1, 2):
            rows.append({"cell": cell, "strategy": "ours", "role": "peer", "phase": "final", "run": f"ngpd-{seed}"})
    rows.append({"cell": "ring/iid", "strategy": "base", "role": "baseline", "phase": "final", "run": "dsgd-1"})
    rows.append({"cell": "ring/iid", "strategy": "base", "role": "baseline", "phase": "tuning", "run": "dsgd-2"})
    write_csv(folder / "runs.csv", rows)
    values = json.dumps({"strategy.lr": 0.012345})
    write_csv(
        folder / "results.csv",
        [{"cell": "ring/iid", "strategy": "ours", "values": values, "paper": "97.1 % (table 2)"}],
    )
    (folder / "study.toml").write_text(
        'title = "Which is best"\nnotes = "Not as the paper"\n[final]\ntargets = [0.2]\n'
    )
    (folder / "provenance.json").write_text('{"commit": "abc", "machine": {"cores": 2}, "environments": [{}]}')
    return folder


def test_a_study(study: Path) -> None:
    out = write_page([study], study / "report.html")
    text, page = out.read_text(encoding="utf-8"), Page(out)
    assert "<h1>Which is best</h1>" in text and "Not as the paper" in text
    assert "lists 1 more run, which" in text
    first, second = page.tables["setting-1"], page.tables["setting-2"]
    assert first[0][-2:] == ["chosen values", "paper"]
    assert [row[0] for row in first[2:]] == ["ours", "base baseline"]
    assert first[2][-2:] == ["lr 0.0123", "97.1 % (table 2)"] and first[3][-2:] == ["", ""]
    assert [row[0] for row in second[2:]] == ["ours"] and first[2][2:5] == second[2][2:5]
    assert [row[0] for row in page.tables["overview"][1:]] == ["ring/iid", "ring/skewed"]
    assert 'value="20" min' in text and "abc" in text and "environments" not in text


def test_a_study_without_a_final_run_is_shown_by_its_runs(study: Path) -> None:
    text = (study / "runs.csv").read_text().replace("final", "tuning")
    (study / "runs.csv").write_text(text)
    page = Page(write_page([study], study / "report.html"))
    assert {row[0] for row in page.tables["setting-1"][2:]} == {"ngpd", "dsgd"}


def test_studies_side_by_side_are_named(study: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Path(shutil.copytree(study, tmp_path_factory.mktemp("other") / "second"))
    text = (study / "study.toml").read_text()
    (other / "study.toml").write_text(text.replace("Which is best", "Once more"))
    out = write_page([study, other], study / "report.html")
    page = Page(out)
    names = [f"{title}: {cell}" for title in ("Which is best", "Once more") for cell in ("ring/iid", "ring/skewed")]
    assert [row[0] for row in page.tables["overview"][1:]] == names
    assert "<h1>Which is best and Once more</h1>" in out.read_text() and "Once more: commit" in out.read_text()
    (other / "study.toml").write_text(text)  # of the same title: told apart by their folders
    page = Page(write_page([study, other], study / "report.html"))
    assert [row[0] for row in page.tables["overview"][1::2]] == [f"{study.name}: ring/iid", "second: ring/iid"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("runs.csv", "cell,strategy\n", r"runs.csv: damaged \(no column role\)"),
        ("study.toml", "= 3", "study.toml: not valid TOML"),
        ("provenance.json", "{", "provenance.json: damaged"),
        ("results.csv", "cell,strategy,values\na,b,{\n", "results.csv: damaged"),
    ],
)
def test_damaged_tables(study: Path, name: str, text: str, message: str) -> None:
    (study / name).write_text(text)
    with pytest.raises(InputError, match=message):
        write_page([study], study / "report.html")
    assert not (study / "report.html").exists()


def test_runs_of_a_cell_have_one_measure(study: Path) -> None:
    path = study / "runs" / "ngpd-2" / "metrics.jsonl"
    lines = []
    for line in path.read_text().splitlines():
        of_nodes = {key: values for key, values in json.loads(line).items() if "accuracy" not in key}
        of_nodes |= {f"{name}_rmse": 0.1 for name in ("mean", "min", "max", "mean_own", "averaged_model")}
        nodes = [0.1] * len(json.loads(line)["accuracy"])
        of_nodes |= {"rmse": nodes, "own_rmse": nodes, "bin_rmse": [0.1], "averaged_model_bin_rmse": [0.1]}
        lines.append(json.dumps(of_nodes | {"mean_r2": 0.1, "averaged_model_r2": 0.1, "r2": nodes}))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"ngpd-2: has evaluations by RMSE, other runs of 'ring/iid' by accuracy"):
        write_page([study], study / "report.html")


def test_a_folder_whose_name_is_not_utf_8(study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(study / "runs", tmp_path / "n\udcff")
    assert "n\\udcff" in write_page([folder], tmp_path / "report.html").read_text(encoding="utf-8")
