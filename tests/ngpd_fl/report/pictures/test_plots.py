"""Pictures come from the records alone, and come for every run, however short, long or broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from ngpd_fl.config import Config, InputError
from ngpd_fl.report.pictures import write_plots
from ngpd_fl.training.run import run

CURVES = {"accuracy_rounds.png", "accuracy_bytes.png", "accuracy_seconds.png", "consensus.png"}
ROOT = Path(__file__).resolve().parents[4]
PNG = b"\x89PNG\r\n\x1a\n"


def short(**values: object) -> Config:
    return Config(**({"strategy": "dsgd", "training": {"rounds": 1, "local_steps": 1}} | values))


def test_a_run(tmp_path: Path) -> None:
    run(short(), tmp_path)
    written = write_plots(tmp_path)
    assert {path.name for path in written} == CURVES | {"graph.png", "partition.png"}
    assert all(path.parent == tmp_path / "plots" and path.read_bytes().startswith(PNG) for path in written)
    before = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in write_plots(str(tmp_path))} == before


UGLY = """
savefig.bbox: tight
savefig.transparent: True
font.family: monospace
font.size: 17
axes.facecolor: yellow
axes.titlesize: 30
axes.prop_cycle: cycler('color', ['red'])
lines.linewidth: 7
figure.facecolor: green
grid.linestyle: dotted
path.sketch: 1, 100, 2
text.usetex: True
"""


@pytest.mark.parametrize("named", ["nonsense", "module://nowhere.to_be_found", ""])
def test_settings_of_matplotlib_change_nothing(named: str, tmp_path: Path) -> None:
    """Neither a file of settings in the working folder nor a backend, be it one that is not there."""
    run(short(model="softmax"), tmp_path / "run")
    expected = {path.name: path.read_bytes() for path in write_plots(tmp_path / "run")}
    (tmp_path / "matplotlibrc").write_text(UGLY)
    code = "import os, sys; from ngpd_fl.report.pictures import write_plots; write_plots('run')\n"
    code += "import matplotlib; assert matplotlib.rcParams['font.size'] == 17\n"
    code += f"assert os.environ['MPLBACKEND'] == {named!r} and matplotlib.rcParams._get_backend_or_none() != 'agg'\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": named}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "plots").iterdir()} == expected


def test_a_callers_settings_of_matplotlib_stay(tmp_path: Path) -> None:
    run(short(model="softmax"), tmp_path)
    expected = {path: path.read_bytes() for path in write_plots(tmp_path)}
    with matplotlib.rc_context({"font.size": 3, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        before = dict(matplotlib.rcParams)
        assert {path: path.read_bytes() for path in write_plots(tmp_path)} == expected
        assert dict(matplotlib.rcParams) == before


def test_runs_side_by_side(tmp_path: Path) -> None:
    for name in ("dsgd", "ecl"):
        run(short(strategy=name), tmp_path / name)
    assert {path.name for path in write_plots(tmp_path)} == CURVES
    assert not (tmp_path / "dsgd" / "plots").exists()


def test_a_run_without_an_evaluation(tmp_path: Path) -> None:
    run(short(), tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    (tmp_path / "run" / "summary.json").unlink()
    assert {path.name for path in write_plots(tmp_path / "run")} == {"graph.png", "partition.png"}
    assert write_plots(tmp_path) == []


@pytest.mark.parametrize(
    "config",
    [
        short(topology={"nodes": 2}, model="softmax"),
        short(topology={"name": "complete", "nodes": 64}, partition="iid", model="softmax"),
        short(topology={"name": "star", "nodes": 5, "schedule": "matching"}, model="softmax"),
        short(strategy={"name": "ecl", "lr": 1e6}, training={"rounds": 9}),
    ],
    ids=["two", "many", "varying", "diverged"],
)
def test_runs_of_all_kinds(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path)
    assert len(write_plots(tmp_path)) == 6


@pytest.mark.parametrize("mode", ["synchronous", "neighbor-synchronous", "asynchronous"])
def test_runs_by_the_clock(mode: str, tmp_path: Path) -> None:
    devices = {"mix": {"raspberry-pi-4": 1}, "step_sigma": 1.0}
    config = short(training={"rounds": 3, "local_steps": 1, "mode": mode}, model="softmax", devices=devices)
    run(config, tmp_path, event_log=True)
    more = {"accuracy_virtual.png", "accuracy_joules.png", "graph.png", "partition.png", "timeline.png"}
    assert {path.name for path in write_plots(tmp_path)} - {"staleness.png"} == CURVES | more


def test_the_split_is_drawn_from_the_records_and_else_from_the_data(tmp_path: Path) -> None:
    run(short(), tmp_path / "run")
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace('dataset = "digits"', 'dataset = "mnist"\ndata_dir = "gone"'))
    assert tmp_path / "run" / "plots" / "partition.png" in write_plots(tmp_path / "run")
    (tmp_path / "run" / "plots" / "partition.png").unlink()
    (tmp_path / "run" / "label_counts.json").unlink()
    with pytest.raises(InputError, match=r"data\.data_dir: mnist is not in"):
        write_plots(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "plots").iterdir()} == CURVES | {"graph.png"}


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run's folder"):
        write_plots(tmp_path)
