"""Callbacks of a run: their order, their errors, and a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ngpd_fl import Callback, Config, RunFolder, resume, run
from tests.support.interrupted_runs import FAST

CONFIG = Config(**FAST, strategy="dsgd")


class Noting(Callback):
    """Notes its calls, and the evaluations on disk where there is a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.folder = folder

    def on_start(self, run: Any) -> None:
        self.calls.append(("start", len(run.metrics)))

    def on_round(self, run: Any, progress: Any) -> None:
        self.calls.append(("round", progress.round))

    def on_evaluation(self, run: Any, metrics: Any) -> None:
        if self.folder is not None:
            assert RunFolder(self.folder).metrics()[-1] == metrics
        self.calls.append(("evaluation", metrics.round))

    def on_end(self, run: Any, summary: Any) -> None:
        if self.folder is not None:
            assert RunFolder(self.folder).summary() == summary
        self.calls.append(("end", summary["status"]))


class Raising(Callback):
    """Raises an error at one step: before the first round, after round 4, or at the end."""

    def __init__(self, step: str, error: BaseException) -> None:
        setattr(self, step, self._raise)
        self.error = error

    def _raise(self, run: Any, *values: Any) -> None:
        if run.recorder.round == 4 or not values or isinstance(values[0], dict):
            raise self.error


def test_they_are_called_at_the_steps_of_a_run_and_change_nothing(tmp_path: Path) -> None:
    noting = Noting(tmp_path / "out")
    result = run(CONFIG, tmp_path / "out", [noting])
    rounds: list[tuple[str, Any]] = []
    for number in range(1, 9):
        rounds += [("evaluation", number)] * (number in (3, 6, 8)) + [("round", number)]
    assert noting.calls == [("start", 0), ("evaluation", 0), ("round", 0), *rounds, ("end", "finished")]
    assert result.params.equal(run(CONFIG).params)


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [
        ("on_start", ValueError("mine"), "failed"),
        ("on_round", ValueError("mine"), "failed"),
        ("on_round", KeyboardInterrupt(), "interrupted"),
        ("on_end", ValueError("mine"), "finished"),
    ],
)
def test_an_error_ends_the_run_after_its_records_are_complete(
    step: str, error: BaseException, status: str, tmp_path: Path
) -> None:
    first, last = Noting(), Noting()
    with pytest.raises(type(error)):
        run(CONFIG, tmp_path / "out", [first, Raising(step, error), last], checkpoint_every=2)
    folder = RunFolder.open(tmp_path / "out")
    assert folder.summary()["status"] == status and "node3" in folder.models()
    assert first.calls[-1] == last.calls[-1] == ("end", status)
    if status == "failed":
        assert resume(folder.path, on_event=str).params.equal(run(CONFIG).params)


def test_one_can_stop_the_run_whose_models_are_evaluated_then(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_round(self, run: Any, progress: Any) -> None:
            if progress.round == 4:
                run.stop()

    noting = Noting(tmp_path / "out")
    result = run(CONFIG, tmp_path / "out", [Stop(), noting])
    assert result.summary["status"] == "finished" and result.summary["rounds"] == 4
    assert [metrics.round for metrics in result.metrics] == [0, 3, 4]
    assert noting.calls[-2:] == [("evaluation", 4), ("end", "finished")]


def test_those_of_a_resumed_run_are_called_for_its_rest(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, tmp_path / "out", [Raising("on_round", KeyboardInterrupt())], checkpoint_every=2)
    noting = Noting(tmp_path / "out")
    resume(tmp_path / "out", [noting])
    assert noting.calls[:3] == [("start", 1), ("round", 2), ("evaluation", 3)]
    assert noting.calls[-1] == ("end", "finished")
