"""Records of version 0.1 are read as if this version had written them; what cannot be read names who wrote it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ngpd_fl.cli.app import main
from ngpd_fl.config import Config, InputError, translated
from ngpd_fl.config.renamed import ADDED, KEYS, VALUES
from ngpd_fl.config.text_files import read_toml
from ngpd_fl.peer.merge import gather
from ngpd_fl.records import RunFolder
from ngpd_fl.records.versions import written_by
from ngpd_fl.study import STUDY_FILE, StudyPlan, study_progress
from ngpd_fl.study.runs import RunStore
from ngpd_fl.training.run import run
from strategies.compression.options import Quantize

OLD = Path(__file__).parents[2] / "data" / "v0.1"

RUNS = sorted(path.parent.relative_to(OLD).as_posix() for path in OLD.rglob("environment.json"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy, in which pictures may be drawn."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_the_records_have_every_old_name() -> None:
    text = "".join(path.read_text() for path in OLD.rglob("*.toml"))
    assert all(f"\n{key.rpartition('.')[2]} = " in text or f"[[{key}]]" in text for key in KEYS)
    assert all(f'"{old}"' in text for key, names in VALUES.items() if key != "partition.name" for old in names)


@pytest.mark.parametrize("name", RUNS)
def test_every_record_is_read(name: str) -> None:
    folder = RunFolder.open(OLD / name)
    config = folder.config()
    recorded = translated(read_toml(OLD / name / "config.toml"))
    recorded["engine"]["workers"] = "auto"  # keys that 0.1 did not have
    for section, names in ADDED.items():
        fields = type(getattr(config, section)).model_fields
        recorded[section] |= {name: fields[name].default for name in names & fields.keys()}
    assert config.model_dump(mode="json", exclude_none=True) == recorded
    assert folder.summary()["status"] == "finished" and folder.metrics()
    assert written_by(OLD / name) == "0.1.0"


def test_the_values_are_under_their_new_names() -> None:
    config = RunFolder(OLD / "faults").config()
    assert config.topology.model_dump()["neighbors"] == 2
    assert config.training.mode == "neighbor-synchronous" and config.training.timeout_seconds == 0.5
    assert [period.node for period in config.faults.byzantine] == [1]
    assert [period.node for period in config.faults.corrupt] == [2]
    assert config.strategy.message_dtype == "float16"
    assert RunFolder(OLD / "compressed").config().strategy.compress == Quantize(bits=4)
    assert RunFolder(OLD / "baseline").config().training.baseline == "fedavg"
    summary = RunFolder(OLD / "faults").summary()
    assert summary["clock"]["mode"] == "neighbor-synchronous" and summary["evaluated_on"] == "common"
    assert summary["skew"]["between_neighbors"] > 0 and summary["skew"]["of_neighborhoods"] > 0
    assert RunFolder(OLD / "own").summary()["evaluated_on"] == "own"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("faults", ["neighbor-synchronous, timeout 0.5 s", "accuracy of the nodes     mean 15.2 %"]),
        ("compressed", ["choco-sgd"]),
        ("baseline", ["fedavg (dsgd)"]),
        ("own", ["each node's own test images"]),
        ("comparison", ["ngpd  12.7 %", "timeout 1 s"]),
        ("peers/peer0", ["neighbor-synchronous"]),
    ],
)
def test_show_with_pictures(name: str, words: list[str], old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(old / name), "--plots"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(word.split()) in shown for word in words), shown
    assert list((old / name / "plots").glob("*.png"))


def test_show_a_sweep(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(old / "sweep"), "--plots"]) == 0
    shown = capsys.readouterr().out
    assert "timeout_seconds" in shown and "message_dtype" in shown and shown.count("13.2 %") == 2


def test_show_a_study_and_know_its_runs(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(old / "study")]) == 0
    shown = capsys.readouterr().out
    assert "baselines" in shown and "3 of 3 runs done" in shown and "lie" in shown
    now = study_progress(StudyPlan.read(old / "study" / STUDY_FILE, recorded=True), old / "study")
    assert {run.key for run in now.runs} == {path.name for path in (old / "study" / "runs").iterdir()}
    for path in (old / "study" / "runs").iterdir():
        assert RunStore.key(RunFolder(path).config()) == path.name


def test_one_page_about_all(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(OLD), "--out", str(page)]) == 0
    assert "neighbor-synchronous" in page.read_text()
    assert main(["report", str(OLD / "study"), "--out", str(tmp_path / "study.html")]) == 0
    text = (tmp_path / "study.html").read_text()
    assert "A study of version 0.1" in text and 'class="baseline"' in text  # the row that is not ranked


def test_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(OLD / "faults")]) == 0
    assert "15.2 %" in capsys.readouterr().out


def test_an_event_log_is_replayed(tmp_path: Path) -> None:
    config = RunFolder(OLD / "faults").config({"devices.replay": str(OLD / "faults" / "events.jsonl")})
    result = run(config, tmp_path / "again")
    assert result.summary["clock"] == RunFolder(OLD / "faults").summary()["clock"]


def test_gather_writes_records_of_this_version(tmp_path: Path) -> None:
    summary = gather([OLD / "peers" / "peer0", OLD / "peers" / "peer1"], tmp_path / "out")
    assert [peer["starts"] for peer in summary["peers"]] == [1, 1]
    assert all("life" not in peer for peer in summary["peers"])
    assert summary["status"] == "finished" and summary["nodes"] == 3 and summary["final"]["averaged_model_accuracy"]
    text = (tmp_path / "out" / "config.toml").read_text()
    assert 'mode = "neighbor-synchronous"' in text and "message_dtype" in text and "wire" not in text


def test_a_run_of_0_1_is_not_resumed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old / "faults" / "summary.json").unlink()
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert main(["resume", str(old / "faults")]) == 2
    assert capsys.readouterr().err == (
        f"ngpd-fl: error: {old / 'faults'}: cannot be resumed; ngpd-fl 0.1.0 wrote records of version 1, not 2\n"
    )
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_a_sweep_of_0_1_is_not_resumed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old / "sweep" / "sweep.toml"
    assert main(["sweep", str(path), "--out", str(old / "sweep"), "--resume"]) == 2
    assert "sweep.keys.training.patience: renamed to training.timeout_seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old_text", "new_text", "error"),
    [
        ("config.toml", "patience = 0.5", "patients = 0.5", "training.patients: unknown key"),
        ("config.toml", "rounds = 2", 'rounds = "many"', "training.rounds: input should be a valid integer"),
        ("metrics.jsonl", '"round"', '"rund"', "line 1 is damaged"),
        ("summary.json", '"status": "finished"', '"status": "splendid"', "damaged (status: "),
    ],
)
def test_what_cannot_be_read_names_its_file_and_who_wrote_it(
    file: str, old_text: str, new_text: str, error: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old / "faults" / file
    content = path.read_text()
    assert old_text in content
    path.write_text(content.replace(old_text, new_text))
    assert main(["show", str(old / "faults")]) == 2
    line = capsys.readouterr().err
    assert str(path) in line and error in line and line.endswith("(written by ngpd-fl 0.1.0)\n")


def test_an_environment_that_names_no_version(old: Path) -> None:
    folder = old / "faults"
    (folder / "config.toml").write_text("[trainig]\n")
    for content in ("[1]", "{}", '{"packages": {"ngpd-fl": 3}}', "{"):
        (folder / "environment.json").write_text(content)
        with pytest.raises(InputError, match=r"config\.toml: trainig: unknown key") as caught:
            RunFolder(folder).config()
        assert "written by" not in str(caught.value)


def test_a_version_of_the_records_is_written(tmp_path: Path) -> None:
    run(Config(model="softmax", topology={"nodes": 3}, training={"rounds": 1, "local_steps": 1}), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["records"] == 2
