"""``--track tensorboard``: event files say what the records say, and no run depends on them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import HISTOGRAMS, SCALARS, EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from ngpd_fl.config import Config, InputError
from ngpd_fl.records import Accuracies, Metrics, RunFolder
from ngpd_fl.training.callbacks import ProgressReport
from ngpd_fl.training.run import resume, run
from ngpd_fl.training.trackers import TensorBoard
from ngpd_fl.training.trackers.values import TAGS, values_of
from tests.support.interrupted_runs import FAST, interrupt

ROOT = Path(__file__).resolve().parents[3]
SHORT = ("--nodes", "4", "--rounds", "3", "--local-steps", "2", "--set", "evaluation.every=2")


def read(folder: Path) -> EventAccumulator:
    """Read event files, every point of each curve."""
    return EventAccumulator(str(folder), size_guidance={SCALARS: 0, HISTOGRAMS: 0}).Reload()


def check(events: EventAccumulator, metrics: list[Metrics]) -> None:
    """Let every number and every list of the records be in the event files, by round."""
    for name in Accuracies.model_fields.keys() - {"round"}:
        expected = {each.round: getattr(each, name) for each in metrics if getattr(each, name) is not None}
        tag = TAGS[name]
        if not expected:
            assert tag not in [*events.Tags()[SCALARS], *events.Tags()[HISTOGRAMS]]
            continue
        if tag in events.Tags()[SCALARS]:
            found = {event.step: event.value for event in events.Scalars(tag)}
            assert found == pytest.approx(expected, rel=1e-6), name
            continue
        assert list(expected) == [event.step for event in events.Histograms(tag)], name
        for event, values in zip(events.Histograms(tag), expected.values(), strict=True):
            shares = np.array([each for each in values if each is not None])
            histogram = event.histogram_value
            assert (histogram.num, sum(histogram.bucket)) == (len(shares), len(shares))
            assert (histogram.min, histogram.max) == pytest.approx((shares.min(), shares.max()))
            assert histogram.sum == pytest.approx(shares.sum())


def test_a_runs_event_files_say_what_its_records_say(quick: Callable[..., Any], here: Path) -> None:
    said = quick("run", *SHORT, "--track", "tensorboard", "--out", "out")
    assert said.code == 0
    assert "\nrecords in out; `tensorboard --logdir out` shows their curves\n" in said.out
    assert quick("show", "out") == (0, said.out, "")
    metrics = RunFolder.open(here / "out").metrics()
    assert [each.round for each in metrics] == [0, 2, 3]
    check(read(here / "out" / "tensorboard"), metrics)


def test_a_comparison_has_them_for_each_run(quick: Callable[..., Any], here: Path) -> None:
    said = quick("compare", "--strategies", "dsgd,ecl", *SHORT, "--track", "tensorboard", "--out", "out")
    assert said.code == 0
    assert "\nrecords in out; `tensorboard --logdir out` shows their curves\n" in said.out
    for name in ("dsgd", "ecl"):
        check(read(here / "out" / name / "tensorboard"), RunFolder.open(here / "out" / name).metrics())


def test_they_can_be_read_while_the_run_is_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the disk is slow: tensorboard writes in a thread of its own."""
    write = RecordWriter.write
    monkeypatch.setattr(RecordWriter, "write", lambda *of: (time.sleep(0.005), write(*of)))
    last = [*TAGS.values()][-1]
    monkeypatch.setattr(TensorBoard, "pause", 0.0)
    seen: list[int] = []

    def look(progress: Any) -> None:
        seen.append(read(tmp_path / "out" / "tensorboard").Histograms(last)[-1].step)

    run(Config(strategy="dsgd", training={"rounds": 2}), tmp_path / "out", [TensorBoard(), ProgressReport(look)])
    assert seen == [0, 1, 2]


def test_a_thousand_nodes_fit_into_a_histogram(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    accuracy = [*rng.beta(8, 2, 997).tolist(), 0.0, 1.0, 1.0 + 1e-12]  # rounding may exceed 1
    missing = dict.fromkeys(("train_loss", "trust_shrink", "consensus_distance"))
    classes = {"class_accuracy": [0.5, None], "averaged_model_class_accuracy": [None, None]}
    shares = [
        name for name in Accuracies.model_fields if name.startswith(("mean", "min", "max")) or "model_acc" in name
    ]
    counts = {"round": 7, "node_steps": 1, "train_seconds": 1.0, "bytes_sent": 2**40}
    metrics = Accuracies(
        **counts, **missing, **classes, **dict.fromkeys(shares, 0.5), accuracy=accuracy, own_accuracy=accuracy
    )
    tracker = TensorBoard()
    tracker._writer = SummaryWriter(tmp_path)
    tracker.send([values_of(metrics)])
    tracker.close("finished")
    events = read(tmp_path)
    (event,) = events.Histograms("nodes/accuracy")
    histogram = event.histogram_value
    assert (event.step, histogram.num, sum(histogram.bucket)) == (7, 1000, 1000)
    edges, counted = np.array(histogram.bucket_limit), np.array(histogram.bucket)
    below = [(np.array(accuracy) < edge).sum() for edge in edges[:-1]]
    np.testing.assert_allclose(np.cumsum(counted)[:-1], below)
    assert len(edges) == 51
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000
    assert events.Scalars("cost/bytes_sent")[0].value == 2**40
    assert not {TAGS[name] for name in missing} & {*events.Tags()[SCALARS]}  # a gap, not a number
    assert events.Histograms("classes/accuracy")[0].histogram_value.num == 1
    assert "classes/averaged_model" not in events.Tags()[HISTOGRAMS]


def test_errors_of_a_regression_have_histograms_up_to_the_largest(tmp_path: Path) -> None:
    config = Config(data={"dataset": "diabetes"}, strategy="ecl", training={"rounds": 1})
    result = run(config, tmp_path / "out", [TensorBoard()])
    events = read(tmp_path / "out" / "tensorboard")
    rmse = result.metrics[-1].nodes
    histogram = events.Histograms("errors/rmse")[-1].histogram_value
    assert histogram.num == len(rmse) == 8 and sum(histogram.bucket) == 8
    assert histogram.max == pytest.approx(max(rmse)) and max(rmse) > 1
    mean = events.Scalars("errors/mean_rmse")[-1].value
    assert mean == pytest.approx(result.metrics[-1].mean)


@pytest.mark.parametrize("checkpoint_every", [2, None])
def test_of_a_resumed_run_tensorboard_shows_every_round_once(tmp_path: Path, checkpoint_every: int | None) -> None:
    config = Config(**FAST | {"evaluation": {"every": 1}}, strategy="dsgd")
    interrupt(config, tmp_path / "out", after=5, callbacks=[TensorBoard()], checkpoint_every=checkpoint_every)
    result = resume(tmp_path / "out", on_event=lambda line: None)
    check(read(tmp_path / "out" / "tensorboard"), result.metrics)


def test_they_change_nothing_in_a_run(tmp_path: Path) -> None:
    config = Config(strategy="dsgd", training={"rounds": 2})
    plain, drawn = run(config), run(config, tmp_path / "out", [TensorBoard()])
    assert [each.accuracy for each in plain.metrics] == [each.accuracy for each in drawn.metrics]
    assert plain.params.equal(drawn.params)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tensorboard not be installed."""
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)


def test_without_the_package_a_run_is_refused_before_anything_is_written(
    quick: Callable[..., Any], here: Path, missing: None
) -> None:
    error = 'ngpd-fl: error: track: tensorboard: tensorboard is not installed; pip install "ngpd-fl[tensorboard]"\n'
    assert quick("run", *SHORT, "--track", "tensorboard") == (2, "", error)
    assert quick("compare", "--strategies", "dsgd,ecl", *SHORT, "--track", "tensorboard", "--out", "out") == (
        2,
        "",
        error,
    )
    assert list(here.iterdir()) == []
    assert quick("run", *SHORT, "--quiet") == (0, "", "")  # no other run needs it


def test_the_former_flag_names_the_present_one(quick: Callable[..., Any]) -> None:
    assert quick("run", "--tensorboard") == (2, "", "ngpd-fl: error: --tensorboard: renamed to --track tensorboard\n")


def test_they_need_a_folder() -> None:
    with pytest.raises(InputError, match="track: tensorboard needs a folder for the records; name it by out"):
        run(Config(), callbacks=[TensorBoard()])


def test_nothing_of_ours_imports_tensorboard_before_it_is_asked_for() -> None:
    code = "import sys, ngpd_fl.cli, ngpd_fl.training.trackers.tensorboard; print(*sys.modules)"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "ngpd_fl.training.trackers.tensorboard" in loaded
    assert not {"tensorboard", "torch.utils.tensorboard"} & {*loaded}
