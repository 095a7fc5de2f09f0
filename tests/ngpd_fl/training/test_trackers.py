"""Trackers hold what the records say: each by its real library, offline or on this machine, read by its own reader.

Weights & Biases, MLflow and TensorBoard are installed for the tests (TensorBoard has a file of its own), Trackio and
Aim tested where someone has installed them.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ngpd_fl.cli import main
from ngpd_fl.config import Config, InputError
from ngpd_fl.config.extras import TRACKERS
from ngpd_fl.records import Metrics
from ngpd_fl.records.tracked_runs import tracked_runs
from ngpd_fl.training.run import resume, run
from ngpd_fl.training.trackers import Tracker, make_tracker
from ngpd_fl.training.trackers.tracker import flat
from ngpd_fl.training.trackers.values import Values, values_of
from tests.support.interrupted_runs import FAST, interrupt

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CONFIG = Config(**FAST | {"evaluation": {"every": 1}}, strategy="dsgd")
RECORDS = {"config.toml", "environment.json", "label_counts.json", "metrics.jsonl", "summary.json"}


class Found(NamedTuple):
    """What a tracker holds of one run: scalars and histograms (or the nodes' values) by tag and round."""

    config: dict[str, Any]
    scalars: dict[str, dict[int, list[float]]]
    histograms: dict[str, dict[int, list[float]]]
    files: set[str]


def tabled(rows: list[tuple[int, dict[str, Any]]]) -> dict[str, dict[int, list[Any]]]:
    """Values by tag and round; a round that was sent twice has two."""
    table: dict[str, dict[int, list[Any]]] = {}
    for round, row in rows:
        for tag, value in row.items():
            table.setdefault(tag, {}).setdefault(round, []).append(value)
    return table


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline run: a log of LevelDB, in blocks of 32 KiB, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, part = file.read_bytes(), 7, b""
    while at < len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole one, or the last part of one
            record = Record()
            record.ParseFromString(part)
            yield record
            part = b""


def read_wandb(name: str) -> Found:
    import wandb

    wandb.teardown()  # as at the end of a program: all is in the files then
    config, rows, files = {}, [], set()
    for file in sorted(Path("wandb").glob("offline-run-*/run-*.wandb")):
        for record in wandb_records(file):
            if record.WhichOneof("record_type") == "run":
                assert (record.run.run_id, record.run.project) == (name, "rings")
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("history"):
                row: dict[str, Any] = {}
                for item in record.history.item:
                    tag, *inner = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    row[tag] = {**row.get(tag, {}), inner[0]: value} if inner else value
                rows.append((row.pop("round"), {tag: value for tag, value in row.items() if "/" in tag}))
            if record.HasField("artifact"):
                assert record.artifact.type in ("model", "records")
                files |= {entry.path for entry in record.artifact.manifest.contents}
    table = tabled(rows)
    nodes = {tag: values for tag, values in table.items() if isinstance(next(iter(values.values()))[0], dict)}
    counts = {tag: {round: sent[-1]["values"] for round, sent in values.items()} for tag, values in nodes.items()}
    return Found(config, {tag: values for tag, values in table.items() if tag not in nodes}, counts, files)


def read_mlflow(name: str) -> Found:
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_run(name)
    assert found.info.status == "FINISHED" and found.info.run_name == "out"
    assert client.get_experiment(found.info.experiment_id).name == "rings"
    scalars = {
        tag: tabled([(metric.step, {tag: metric.value}) for metric in client.get_metric_history(name, tag)])[tag]
        for tag in found.data.metrics
    }
    files = {file.path for file in client.list_artifacts(name)}
    text = Path(client.download_artifacts(name, "histograms.json")).read_text()
    nodes = {tag: {int(round): sent for round, sent in rounds.items()} for tag, rounds in json.loads(text).items()}
    return Found(found.data.params, scalars, nodes, files - {"histograms.json"})


def read_trackio(name: str) -> Found:
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs("rings", name)
    kept = [(log["step"], {tag: value for tag, value in log.items() if "/" in tag}) for log in logs]
    table = tabled(kept)
    nodes = {tag: values for tag, values in table.items() if isinstance(next(iter(values.values()))[0], dict)}
    counts = {tag: {round: sent[-1]["values"] for round, sent in values.items()} for tag, values in nodes.items()}
    scalars = {tag: values for tag, values in table.items() if tag not in nodes}
    stored = {
        path.name for path in Path(os.environ["TRACKIO_DIR"]).rglob("blobs/**/*")
    }  # by the hashes of their contents
    files = {path for path in Path("out").iterdir() if path.is_file()}
    kept_files = {path.name for path in files if sha256(path.read_bytes()).hexdigest() in stored}
    return Found(SQLiteStorage.get_run_config("rings", name), scalars, counts, kept_files)


def read_aim(name: str) -> Found:
    import aim
    from aim.storage.context import Context

    def steps(sequence: Any) -> dict[int, list[Any]]:
        return {int(step): [value] for step, (value, *_) in sequence.data.items()}

    found = aim.Run(name, system_tracking_interval=None, capture_terminal_logs=False)  # its queries find nothing here
    assert found.experiment == "rings"
    scalars = {metric.name: steps(metric) for metric in found.metrics()}
    tags = ("nodes/accuracy", "nodes/own_accuracy", "classes/accuracy", "classes/averaged_model")
    sent = {tag: steps(found.get_distribution_sequence(tag, Context({}))) for tag in tags}
    nodes = {tag: {step: one.to_np_histogram()[0] for step, [one] in rounds.items()} for tag, rounds in sent.items()}
    files = {path.name for path in Path(".aim/artifacts").rglob("*") if path.is_file()}
    return Found(found["config"], scalars, nodes, files)


READERS = {"aim": read_aim, "mlflow": read_mlflow, "trackio": read_trackio, "wandb": read_wandb}


@pytest.fixture(scope="module", autouse=True)
def trackio_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trackio knows one folder in a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        yield


@pytest.fixture(params=READERS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker that is installed, with nothing in its way to the network and all that it stores in a folder."""
    name: str = request.param
    monkeypatch.chdir(tmp_path)
    for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    pytest.importorskip(name)
    if name == "mlflow":
        import mlflow

        mlflow.set_tracking_uri(None)
    return name


def check(found: Found, metrics: list[Metrics], config: Config) -> None:
    """Let every number and every list of the records be there once, by round, with configuration and files."""
    expected = [values_of(one) for one in metrics]
    scalars = tabled([(values.round, values.scalars) for values in expected])
    assert found.scalars.keys() == scalars.keys()
    for tag, rounds in scalars.items():
        if tag == "cost/train_seconds":  # repeated rounds take other times
            assert found.scalars[tag].keys() == rounds.keys()
        else:
            assert found.scalars[tag] == {round: pytest.approx(value) for round, value in rounds.items()}, tag
    assert found.histograms.keys() == {tag for values in expected for tag in values.histograms}
    for values in expected:
        for tag, histogram in values.histograms.items():
            sent = np.asarray(found.histograms[tag][values.round])
            if len(sent) == len(histogram.counts):
                np.testing.assert_array_equal(sent, histogram.counts)
                assert sent.sum() == len(histogram.values)
            else:
                np.testing.assert_allclose(sent, histogram.values)
    keys = flat(config)
    assert keys["strategy.lr"] == 0.05 and keys["topology.name"] == "ring"
    assert {key: str(found.config[key]) for key in keys} == {key: str(value) for key, value in keys.items()}
    assert found.files == {*RECORDS, "models.safetensors"}


def test_a_tracker_holds_what_the_records_say(name: str) -> None:
    result = run(CONFIG, "out", [make_tracker(name, project="rings")])
    noted = tracked_runs(Path("out"))
    assert (noted[name].project, noted[name].round) == ("rings", CONFIG.training.rounds)
    check(READERS[name](noted[name].run), result.metrics, CONFIG)


@pytest.mark.parametrize("checkpoint_every", [3, None])
def test_a_resumed_run_goes_on_in_the_same_run_of_the_tracker(name: str, checkpoint_every: int | None) -> None:
    """From its checkpoint, or from the beginning: no round is there twice."""
    out = Path("out")
    interrupt(CONFIG, out, 5, [make_tracker(name, project="rings")], checkpoint_every=checkpoint_every)
    before = tracked_runs(out)[name]
    assert before.round == 5
    result = resume(out, on_event=lambda line: None)
    assert tracked_runs(out) == {name: before.model_copy(update={"round": 8})}
    check(READERS[name](before.run), result.metrics, CONFIG)


def test_a_tracker_changes_nothing_in_a_run(name: str) -> None:
    plain, tracked = run(CONFIG), run(CONFIG, callbacks=[make_tracker(name)])
    assert plain.params.equal(tracked.params)
    if name == "wandb":  # its service keeps the working folder in which it began
        sys.modules[name].teardown()


class Unreliable(Tracker):
    """A tracker whose server does not answer in some rounds."""

    name = "tensorboard"
    pause = 0.0

    def __init__(self, silent: set[int]) -> None:
        super().__init__()
        self.silent, self.rounds, self.status = silent, list[int](), ""

    def open(self, run: str | None, title: str, config: Any) -> str:
        return "1"

    def send(self, evaluations: Sequence[Values]) -> None:
        if self.asked in self.silent:
            raise ConnectionError("no answer")
        self.rounds += [values.round for values in evaluations]

    def on_evaluation(self, run: Any, metrics: Metrics) -> None:
        self.asked = metrics.round
        super().on_evaluation(run, metrics)

    def send_files(self, files: Any, metrics: Any) -> None:
        self.files = {path.name for path in files}

    def close(self, status: str) -> None:
        self.status = status


@pytest.mark.parametrize(("silent", "sent", "noted"), [(set(), 9, 8), ({2, 3}, 9, 8), ({7, 8}, 7, 6)])
def test_a_tracker_that_fails_ends_no_run_and_gets_what_it_missed(
    silent: set[int], sent: int, noted: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Unreliable(silent)
    with caplog.at_level(logging.WARNING):
        result = run(CONFIG, tmp_path / "out", [tracker])
    assert result.summary["status"] == tracker.status == "finished"
    assert tracker.rounds == [*range(sent)]
    assert tracked_runs(tmp_path / "out")["tensorboard"].round == noted
    assert tracker.files == {*RECORDS, "models.safetensors"}
    assert ("the tracker fails, the run goes on (ConnectionError: no answer)" in caplog.text) == bool(silent)


def test_a_link_in_the_folder_is_not_sent(tmp_path: Path) -> None:
    run(CONFIG, tmp_path / "out")
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "out" / "notes.json").symlink_to(tmp_path / "secret")
    resume(tmp_path / "out", rounds=9, callbacks=[tracker := Unreliable(set())], on_event=lambda line: None)
    assert tracker.files == {*RECORDS, "models.safetensors"}


def test_many_evaluations_are_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unreliable, "pause", 1e9)
    sendings: list[list[int]] = []
    monkeypatch.setattr(Unreliable, "send", lambda self, values: sendings.append([one.round for one in values]))
    run(CONFIG, callbacks=[Unreliable(set())])
    assert sendings == [[0], [*range(1, 9)]]


def test_a_tracker_that_cannot_begin_is_an_error_before_anything_is_computed(tmp_path: Path) -> None:
    class Closed(Unreliable):
        def open(self, run: str | None, title: str, config: Any) -> str:
            raise PermissionError("no key")

    words = r"^track: tensorboard cannot begin a run \(PermissionError: no key\)$"
    with pytest.raises(InputError, match=words):
        run(CONFIG, tmp_path / "out", [first := Unreliable(set()), Closed(set())])
    assert list(tmp_path.iterdir()) == [] and first.status == "failed"


def test_a_tracker_that_cannot_go_on_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    """Without a checkpoint the run would begin again, and its records would be dropped first."""
    run(CONFIG, tmp_path / "out", [Unreliable(set())])
    (tmp_path / "out" / "tensorboard").touch()  # where the event files would be
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match=r"^track: tensorboard cannot begin a run \(FileExistsError"):
        resume(tmp_path / "out", rounds=12, on_event=lambda line: None)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "wnadb",
            f"track: 'wnadb' is not known; did you mean 'wandb'? allowed: {', '.join(TRACKERS)}",
        ),
        ("wandb,wandb", "track: a name stands twice in wandb,wandb"),
    ],
)
def test_wrong_names(given: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--track", given]) == 2
    assert capsys.readouterr().err == f"ngpd-fl: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_note_is_refused(tmp_path: Path) -> None:
    interrupt(CONFIG, tmp_path / "out", 5)
    (tmp_path / "out" / "trackers.json").write_text('{"runs": {"wandb": {"project": 3}}}')
    with pytest.raises(InputError, match="trackers.json: damaged"):
        resume(tmp_path / "out")


@pytest.mark.parametrize("name", ["../../mine", "a/b", "..", ""])
def test_a_note_names_no_path(name: str, tmp_path: Path) -> None:
    interrupt(CONFIG, tmp_path / "out", 5)
    note = {"project": "rings", "run": name, "round": 1}
    (tmp_path / "out" / "trackers.json").write_text(json.dumps({"runs": {"mlflow": note}}))
    with pytest.raises(InputError, match="trackers.json: damaged .*runs.mlflow.run"):
        resume(tmp_path / "out")


def test_the_command_says_why_a_tracker_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Not only with ``--quiet``: the folder of the run that did not begin is not there any more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    assert main(["run", "--track", "mlflow", "--strategy", "dsgd", "--out", "out"]) == 2
    assert "track: mlflow cannot begin a run (" in capsys.readouterr().err
