"""Outcome of a run, finished or not, read from its records alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.records import ACCURACY, Measure, Metrics, RunFolder
from ngpd_fl.records.display import UNFINISHED


@dataclass(frozen=True, eq=False)
class Outcome:
    """Records of one run.

    Attributes:
        name: the folder's name; in a comparison, the strategy.
        config: the configuration.
        metrics: the evaluations so far, in order.
        summary: the content of ``summary.json``; without that file only the status ``"unfinished"``.
    """

    name: str
    config: Config
    metrics: list[Metrics]
    summary: dict[str, Any]

    @property
    def status(self) -> str:
        """The status: ``"finished"``, ``"diverged"``, ``"failed"``, ``"interrupted"`` or ``"unfinished"``."""
        return str(self.summary["status"])

    @property
    def measure(self) -> Measure:
        """The run's measure; accuracy before the first evaluation."""
        return self.metrics[0].measure if self.metrics else ACCURACY

    @property
    def last(self) -> Metrics | None:
        """The last evaluation."""
        return self.metrics[-1] if self.metrics else None

    @property
    def averaged_model(self) -> float | None:
        """The averaged model's final value, nan if it is not finite; None if it was never evaluated."""
        if self.last is not None and self.last.has_average:
            return self.last.averaged_model
        return self.final(f"averaged_model_{self.measure.key}")

    def final(self, name: str) -> float | None:
        """Return a figure of the last evaluation or, if it came later, of the summary."""
        known = getattr(self.last, name, None)
        return (self.summary.get("final") or {}).get(name) if known is None else known

    def final_value(self, quantity: str) -> float | None:
        """Return a quantity of the end: ``mean``, ``worst``, ``averaged_model``, ``train_loss``, ...

        None if it was never evaluated, nan if it is not finite.
        """
        if quantity == "averaged_model":
            return self.averaged_model
        is_unknown = {
            "consensus_distance": self.averaged_model is None,
            "train_loss": self.last is not None and self.last.round == 0,
        }
        if self.last is None or is_unknown.get(quantity):
            return None
        value = self.final(quantity)
        return float("nan" if value is None else value)

    @property
    def clock(self) -> dict[str, Any] | None:
        """The run's usage by the virtual clock; None if it has no clock or has not ended."""
        return self.summary.get("clock")

    @property
    def has_clock(self) -> bool:
        """Whether every evaluation has a time on the virtual clock."""
        return bool(self.metrics) and all(metrics.virtual_seconds is not None for metrics in self.metrics)

    @property
    def has_energy(self) -> bool:
        """Whether the energy is known at every evaluation."""
        return bool(self.metrics) and all(metrics.joules is not None for metrics in self.metrics)

    @property
    def best(self) -> Metrics | None:
        """The first evaluation with the best mean over the nodes."""
        return max(self.metrics, key=lambda metrics: self.measure.rank(metrics.mean), default=None)

    @property
    def reached(self) -> Metrics | None:
        """The first evaluation that reaches the run's target accuracy; None if there is none."""
        target = self.config.training.until_accuracy
        return next((metrics for metrics in self.metrics if metrics.reaches(target)), None)


def read_run(path: Path) -> Outcome:
    """Return the records of a run; raise ``InputError`` if ``path`` is not a run's folder or a record is damaged."""
    folder = RunFolder.open(path)
    summary = folder.summary() if (path / "summary.json").exists() else {"status": UNFINISHED}
    config, metrics = folder.config(), folder.metrics()
    for number, evaluation in enumerate(metrics, start=1):
        if evaluation.measure is not metrics[0].measure or len(evaluation.nodes) != config.num_models:
            raise InputError(f"{path / 'metrics.jsonl'}: line {number} is of another run than {path / 'config.toml'}")
    return Outcome(path.resolve().name, config, metrics, summary)


def read_comparison(path: Path) -> list[Outcome]:
    """Return the runs in the sub-folders of a folder, by name."""
    try:
        subfolders = sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return [read_run(subfolder) for subfolder in subfolders if RunFolder.holds_run(subfolder)]


def read_outcomes(path: Path) -> list[Outcome]:
    """Return the run in a folder, or the runs of a comparison; raise ``InputError`` if it holds neither."""
    if RunFolder.holds_run(path):
        return [read_run(path)]
    outcomes = read_comparison(path)
    if not outcomes:
        raise InputError(f"{path}: neither a run's folder (with config.toml and environment.json) nor one of runs")
    return outcomes
