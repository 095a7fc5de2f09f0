"""Runs that go on: bit for bit, from whatever is left of them; and those that cannot."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config, InputError
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.records import RunFolder
from ngpd_fl.report.pictures import write_plots
from ngpd_fl.training.callbacks import ProgressReport
from ngpd_fl.training.run import resume, run
from tests.support.interrupted_runs import FAST, assert_same_records, interrupt

SETTINGS: dict[str, dict[str, Any]] = {
    "ngpd": {
        "strategy": {"name": "ngpd", "theta": 0.5, "factor_every": 2, "basis_every": 5},
        "model": {"name": "mlp", "hidden": [8]},
        "topology": {"name": "star", "nodes": 5},
        "training": {"rounds": 8, "local_steps": 2, "lr_schedule": "cosine"},
        "network": {"message_loss": 0.3},
    },
    "ngpd-truncated": {"strategy": {"name": "ngpd", "rank": 4, "fisher_smoothing": 0.1}},
    "ecl": {"strategy": "ecl", "topology": {"nodes": 5, "schedule": "matching"}},
    "dsgd": {
        "strategy": {"name": "dsgd", "momentum": 0.9},
        "training": {"rounds": 8, "local_steps": 2, "lr_schedule": "step", "lr_milestones": [5]},
        "network": {"message_loss": 0.3},
        "data": {"crop": 1},
    },
    "kfac-gossip": {"strategy": "kfac-gossip"},
    "regression": {"strategy": "ngpd", "data": {"dataset": "diabetes"}},
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in {"kfac-gossip", "regression"})) for name in SETTINGS],
)
def test_a_resumed_run_is_the_unbroken_one(name: str, tmp_path: Path) -> None:
    config, said = Config(**FAST | SETTINGS[name]), list[str]()
    whole = run(config, tmp_path / "whole")
    interrupt(config, tmp_path / "cut", after=7, checkpoint_every=4)  # after the evaluation of round 6
    result = resume(tmp_path / "cut", on_event=said.append)
    assert result.params.equal(whole.params)
    assert [each.round for each in result.metrics] == [0, 3, 6, 8]
    assert_same_records(tmp_path / "cut", tmp_path / "whole")
    assert said == []
    assert RunFolder(tmp_path / "cut").checkpoints.rounds() == [8, 4]


def test_checkpoints_change_nothing_in_a_run(tmp_path: Path) -> None:
    config = Config(**FAST | SETTINGS["ngpd-truncated"])
    whole = run(config, tmp_path / "whole")
    kept = run(config, tmp_path / "kept", checkpoint_every=1)
    assert kept.params.equal(whole.params)
    assert_same_records(tmp_path / "kept", tmp_path / "whole")
    assert (tmp_path / "kept/config.toml").read_bytes() == (tmp_path / "whole/config.toml").read_bytes()
    assert not (tmp_path / "whole/checkpoints").exists()
    assert {path.name for path in (tmp_path / "kept/checkpoints").iterdir()} == {
        "plan.json",
        *(f"round-00000{round}.{kind}" for round in (7, 8) for kind in ("json", "safetensors")),
    }


def test_a_resumed_engine_goes_on_as_the_one_that_was_never_stopped(tmp_path: Path) -> None:
    """The checkpoint alone, without anything that the process keeps."""
    from ngpd_fl.training import compose

    job = compose(Config(**FAST | SETTINGS["ngpd"]))
    checkpoints = RunFolder(tmp_path).checkpoints
    (tmp_path / "metrics.jsonl").touch()
    engine, other = SynchronousEngine(job.engine_settings), SynchronousEngine(job.engine_settings)
    for _ in range(3):
        engine.run_round()
    checkpoints.write(3, *engine.state())
    checkpoint = checkpoints.read(3)
    assert all(value.is_contiguous() for value in engine.state()[0].values())  # the order in memory changes last bits
    other.load(checkpoint.tensors, checkpoint.values)
    for _ in range(3):
        engine.run_round()
        other.run_round()
    assert other.round == 6
    assert all(value.equal(engine.state()[0][name]) for name, value in other.state()[0].items())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run ``whole``, and the same as ``cut`` after round 5 with checkpoints of rounds 2 and 4."""
    path, config = tmp_path_factory.mktemp("runs"), Config(**FAST, strategy={"name": "dsgd", "momentum": 0.5})
    run(config, path / "whole")
    interrupt(config, path / "cut", after=5, checkpoint_every=2)
    return path


@pytest.fixture
def cut(runs: Path, tmp_path: Path) -> Path:
    """A copy of the interrupted run."""
    return Path(shutil.copytree(runs / "cut", tmp_path / "cut"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def recount(path: Path) -> None:
    path.write_text(path.read_text().replace('"node_steps": ', '"node_steps": 1'))


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "tensors truncated": ("safetensors", truncate, " is damaged (its checksum in round-000004.json does not fit)"),
    "tensors altered": ("safetensors", alter, " is damaged (its checksum in round-000004.json does not fit)"),
    "tensors missing": ("safetensors", Path.unlink, " cannot be read (No such file or directory)"),
    "JSON truncated": ("json", truncate, ": damaged (Unterminated string"),
    "JSON altered": ("json", recount, " is damaged (its checksum does not fit)"),
    "JSON empty": ("json", lambda path: path.write_text("[]"), ": damaged (not a JSON object)"),
    "JSON missing": ("json", Path.unlink, ": cannot be read (No such file or directory)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_is_used(damage: str, runs: Path, cut: Path) -> None:
    kind, do, why = DAMAGES[damage]
    path, said = cut / f"checkpoints/round-000004.{kind}", list[str]()
    do(path)
    resume(cut, on_event=said.append)
    [line] = said
    assert line.startswith(f"{path}{why}") and line.endswith("; the run goes on after round 2")
    assert_same_records(cut, runs / "whole")
    assert RunFolder(cut).checkpoints.rounds() == [8, 6]


def test_evaluations_that_were_altered_are_recorded_again(runs: Path, cut: Path) -> None:
    path, said = cut / "metrics.jsonl", list[str]()
    path.write_text(path.read_text().replace('"round":3', '"round":5'))
    resume(cut, on_event=said.append)
    why = f"{path} is damaged (its checksum in round-000004.json does not fit); the run goes on after round 2"
    assert said == [why]
    assert_same_records(cut, runs / "whole")


def test_without_a_checkpoint_that_can_be_used_the_run_begins_again(runs: Path, cut: Path) -> None:
    said: list[str] = []
    for path in (cut / "checkpoints").glob("*.safetensors"):
        alter(path)
    resume(cut, on_event=said.append)
    assert [line.split("; ")[-1] for line in said] == ["the run begins again"] * 2
    assert_same_records(cut, runs / "whole")


def test_so_does_one_that_was_killed_before_its_first(runs: Path, cut: Path) -> None:
    said: list[str] = []
    shutil.rmtree(cut / "checkpoints")
    for name in ("summary.json", "models.safetensors"):
        (cut / name).unlink()
    metrics = cut / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-30])  # it was killed while writing a line
    resume(cut, on_event=said.append)
    assert said == [f"{cut}: there is no checkpoint; the run begins again"]
    assert_same_records(cut, runs / "whole")
    assert not (cut / "checkpoints").exists()


def test_a_line_that_was_cut_off_is_written_again(runs: Path, cut: Path) -> None:
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"round": 6, "mean_accu')
    (cut / "summary.json.partial-1").touch()
    resume(cut)
    assert_same_records(cut, runs / "whole")
    assert not list(cut.glob("*partial*"))


def test_another_interval_holds_from_then_on(runs: Path, cut: Path) -> None:
    interval = cut / "checkpoints/plan.json"
    assert json.loads(interval.read_text()) == {"every": 2}
    resume(cut, checkpoint_every=3)
    assert json.loads(interval.read_text()) == {"every": 3}
    assert RunFolder(cut).checkpoints.rounds() == [6, 4]
    assert_same_records(cut, runs / "whole")


@pytest.mark.filterwarnings("default")
def test_what_changed_since_is_said_and_recorded(runs: Path, cut: Path) -> None:
    path = cut / "environment.json"
    environment = json.loads(path.read_text())
    now = {key: environment[key] for key in ("code", "data")}
    environment |= {"code": "0123", "data": "4567", "packages": environment["packages"] | {"torch": "1.0"}}
    path.write_text(json.dumps(environment))
    changes = [f"torch 1.0 -> {version('torch')}", f"code 0123 -> {now['code']}", f"data 4567 -> {now['data']}"]
    said = f"{cut}: not as when the run began, results may differ: {', '.join(changes)}"
    with pytest.warns(UserWarning) as warned:
        resume(cut)
    assert [str(each.message) for each in warned] == [said]
    resumed = [{"round": 4, "changes": changes}]
    assert RunFolder(cut).environment() == environment | {"resumed": resumed}


def test_other_data_are_noticed(runs: Path, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ngpd_fl.data import load_dataset

    def altered(*words: Any, **more: Any) -> Any:
        dataset = load_dataset(*words, **more)
        dataset.train.inputs[100, 0, 3, 3] += 1e-3
        return dataset

    said: list[str] = []
    monkeypatch.setattr("ngpd_fl.data.partition.load_dataset", altered)
    resume(cut, on_event=said.append)
    assert len(said) == 1 and "results may differ: data " in said[0]


def refuse(path: Path, error: str, **options: Any) -> None:
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with pytest.raises(InputError) as refused:
        resume(path, **options)
    assert str(refused.value) == error
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before


def test_what_cannot_be_resumed(runs: Path, cut: Path, tmp_path: Path) -> None:
    over = "the run is over (finished); only one that was cut short can be resumed"
    refuse(runs / "whole", f"{runs / 'whole'}: {over}")
    refuse(runs, f"{runs}: not a run's folder (it should hold config.toml and environment.json)")
    refuse(
        tmp_path / "none", f"{tmp_path / 'none'}: not a run's folder (it should hold config.toml and environment.json)"
    )
    refuse(cut, "checkpoint_every: 0 rounds; allowed: 1 and more", checkpoint_every=0)
    rounds = RunFolder(cut).config().training.rounds
    for given in ("9999", 9999.5, True):
        refuse(cut, f"rounds: the run has {rounds} already; allowed: {rounds + 1} and more", rounds=given)
    (cut / "config.toml").write_text((cut / "config.toml").read_text().replace("rounds = 8", "rounds = 9"))
    refuse(cut, f"{cut}: config.toml was changed since the run began; resume goes on with what it was")


def test_a_run_that_diverged_is_over(tmp_path: Path) -> None:
    run(Config(**FAST, strategy={"name": "dsgd", "lr": 1e12}), tmp_path / "out", checkpoint_every=1)
    refuse(
        tmp_path / "out", f"{tmp_path / 'out'}: the run is over (diverged); only one that was cut short can be resumed"
    )


def test_records_of_flower_cannot_be_resumed(cut: Path) -> None:
    environment = json.loads((cut / "environment.json").read_text())
    del environment["data"]
    (cut / "environment.json").write_text(json.dumps(environment))
    refuse(cut, f"{cut}: cannot be resumed; neither Flower's runs can, nor those of earlier versions")


def test_a_run_that_is_still_going_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []

    def look(progress: Any) -> None:
        with pytest.raises(InputError) as refused:
            resume(tmp_path / "out")
        said.append(str(refused.value))

    run(Config(**FAST | {"training": {"rounds": 1}}, strategy="dsgd"), tmp_path / "out", [ProgressReport(look)])
    assert said == [f"{tmp_path / 'out'}: the run is still going; it can be resumed once it was cut short"] * 2


def test_checkpoints_of_another_network_are_refused(cut: Path, tmp_path: Path) -> None:
    interrupt(Config(**FAST | {"model": "mlp"}, strategy="dsgd"), tmp_path / "other", after=5, checkpoint_every=4)
    shutil.rmtree(cut / "checkpoints")
    shutil.copytree(tmp_path / "other/checkpoints", cut / "checkpoints")
    shutil.copy(tmp_path / "other/metrics.jsonl", cut)
    with pytest.raises(InputError, match="the checkpoint of round 4 does not fit this run: .* has shape"):
        resume(cut)
    assert RunFolder(cut).summary()["status"] == "interrupted"


@pytest.mark.parametrize(
    "place, value, words",
    [
        (("engine", "round"), "4", "values.engine.round should be of type int, is of type str"),
        (("engine", "round"), 1e308, "its state is of round"),
        (("engine", "round"), 0, "its state is of round 0"),
        (("recorder", "round"), None, "values.recorder.round should be of type int, is of type NoneType"),
        (("recorder", "node_steps"), [1], "values.recorder.node_steps should be of type int, is of type list"),
        (("recorder",), [], "values.recorder should be of type dict, is of type list"),
    ],
)
def test_a_checkpoint_whose_values_cannot_be_is_refused(
    cut: Path, place: tuple[str, ...], value: Any, words: str
) -> None:
    for notes in (cut / "checkpoints").glob("round-*.json"):
        content = json.loads(notes.read_text())["content"]
        section = content["values"] if len(place) == 1 else content["values"][place[0]]
        section[place[-1]] = value
        checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        notes.write_text(json.dumps({"sha256": checksum, "content": content}))
    with pytest.raises(InputError, match=f"the checkpoint of round 4 does not fit this run: {words}"):
        resume(cut)
    assert RunFolder(cut).summary()["status"] == "interrupted"


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl", "config.toml"])
def test_no_file_elsewhere_is_changed_by_way_of_a_link(name: str, cut: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes((cut / name).read_bytes() if (cut / name).exists() else b"mine\n")
    before = precious.read_bytes()
    shutil.rmtree(cut / "checkpoints")  # the run begins again, with empty records
    (cut / name).unlink(missing_ok=True)
    (cut / name).symlink_to(precious)
    with pytest.raises(InputError, match=f"{name}: is a link to another file, which would be changed"):
        resume(cut)
    assert precious.read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoints", "plots", "tensorboard"])
def test_no_folder_elsewhere_is_changed_by_way_of_a_link(name: str, cut: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "round-000099.json").touch()
    shutil.rmtree(cut / name, ignore_errors=True)
    (cut / name).symlink_to(precious)
    with pytest.raises(InputError, match=f"{name}: is a link to another folder, which would be changed"):
        resume(cut)
    if name == "plots":
        with pytest.raises(InputError, match="plots: is a link to another folder"):
            write_plots(cut)
    assert [path.name for path in precious.iterdir()] == ["round-000099.json"]


def test_rounds_that_no_record_can_hold_change_nothing(runs: Path, tmp_path: Path) -> None:
    finished = Path(shutil.copytree(runs / "whole", tmp_path / "whole"))
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=r"training\.rounds: a whole number is too large; allowed: below 2\^63"):
        resume(finished, rounds=10**20)
    with pytest.raises(InputError, match=r"checkpoint_every: a whole number is too large; allowed: below 2\^63"):
        resume(finished, rounds=10**5, checkpoint_every=10**20)
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


def test_checkpoints_need_a_folder() -> None:
    with pytest.raises(InputError, match="checkpoint_every: needs a folder for the records; name it by out"):
        run(Config(), checkpoint_every=1)
