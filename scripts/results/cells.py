"""Cells of the studies: test accuracy of each strategy, NGPD with its defaults among them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ngpd_fl.study.cell import StudyCell
from ngpd_fl.study.plan import StudyPlan, StudyStrategy

STUDIES = Path(__file__).resolve().parents[2] / "benchmarks" / "studies"
RESULTS = STUDIES / "results"

UNTUNED, TRACKING = "NGPD, defaults (untuned)", "NGPD, tracking (untuned)"
_LABELS = {"NGPD, defaults": UNTUNED, "NGPD, tracking": TRACKING, "NGPD": "NGPD, tuned"}
"""A strategy's name in the studies -> its name on the page, where they differ."""

_ASIDE = {"strategy", "evaluation", "devices", "engine"}
"""Sections that may differ between equal settings: devices set the virtual clock alone."""

Row = dict[str, str]


class Point(NamedTuple):
    """One evaluation of a strategy in a cell, over the seeds.

    Attributes:
        round: rounds done.
        mean: mean accuracy over nodes and seeds, in percent.
        sd: standard deviation over seeds, 0 of one seed.
        bytes_sent: median bytes that all nodes have sent.
        seconds: median training time.
        joules: median energy of all nodes on the virtual clock; None without it.
    """

    round: int
    mean: float
    sd: float
    bytes_sent: float
    seconds: float
    joules: float | None


@dataclass(frozen=True)
class Result:
    """Test accuracy of a strategy in a cell, in percent, over the seeds.

    Attributes:
        label: the strategy's name.
        method: the algorithm, as in ``Config.method``.
        is_peer: whether it runs without a server.
        mean: mean accuracy over nodes and seeds; None if no run has finished.
        sd: standard deviation over seeds.
        worst: accuracy of the worst node, mean over seeds.
        lost: number of runs that diverged or failed.
        seconds: median duration of training.
        curve: the evaluations, where the study has recorded them.
    """

    label: str
    method: str
    is_peer: bool
    mean: float | None
    sd: float | None
    worst: float | None
    lost: int
    seconds: float | None
    curve: Sequence[Point] = ()

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: a strategy of which a run was lost comes after all others."""
        return not self.lost, -1.0 if self.mean is None else self.mean

    @property
    def text(self) -> str:
        """The result as ``71.6 ± 1.0``."""
        if self.mean is None:
            return "diverged"
        band = "" if self.sd is None else f" ± {self.sd:.1f}"
        return f"{self.mean:.1f}{band}" + (f" ({self.lost} diverged)" if self.lost else "")

    @property
    def worst_text(self) -> str:
        """The worst node as `` / 66.0`` if it is at least half a point below the mean, else nothing."""
        if self.mean is None or self.worst is None or self.mean - self.worst < 0.5:
            return ""
        return f" / {self.worst:.1f}"


@dataclass(frozen=True)
class Cell:
    """One setting of a study and the results in it.

    Attributes:
        study: name of the study.
        name: the cell's name in the study.
        setting: its configuration, as text.
        results: results of all strategies, the best first.
        ours: label of the NGPD that is ranked.
    """

    study: str
    name: str
    setting: str
    results: Sequence[Result]
    ours: str = UNTUNED

    @property
    def title(self) -> str:
        """The study and the cell, e.g. ``one-label, ring``; the study alone if that is its only cell."""
        return self.study if self.name == "all" else f"{self.study}, {self.name}"

    def result(self, label: str) -> Result | None:
        """Return the result of a strategy, or None if it was not run here."""
        return next((result for result in self.results if result.label == label), None)

    @property
    def ngpd(self) -> Result:
        """The NGPD that is ranked: with its defaults."""
        return next(result for result in self.results if result.label == self.ours)

    @property
    def compared(self) -> list[Result]:
        """The decentralized algorithms that are ranked, one NGPD among them, the best first."""
        ours, family = self.ngpd, {"ngpd", "ngpd-tracking"}
        return [result for result in self.results if result.is_peer and (result is ours or result.method not in family)]

    @property
    def best(self) -> Result:
        """The first of them."""
        return self.compared[0]

    @property
    def has_rival(self) -> bool:
        """Whether another decentralized algorithm was run."""
        return len(self.compared) > 1

    @property
    def rival(self) -> Result:
        """The first of the other algorithms."""
        ours = self.ngpd
        return next(result for result in self.compared if result is not ours)

    @property
    def lead(self) -> float:
        """Accuracy of NGPD above that of the best other algorithm, in points."""
        assert self.ngpd.mean is not None and self.rival.mean is not None
        return self.ngpd.mean - self.rival.mean

    def is_near(self, result: Result) -> bool:
        """Return whether a result is within one standard deviation of the best, that of the best."""
        best = self.best
        if result.lost or result.mean is None or best.mean is None or best.sd is None:
            return False
        return best.mean - result.mean <= best.sd


def read_studies() -> dict[str, list[Cell]]:
    """Return the cells whose runs are all over, of each study file."""
    return {name: _read(name) for name in sorted(path.stem for path in STUDIES.glob("*.toml"))}


def _read(study: str) -> list[Cell]:
    """Return a study's cells whose runs are all over: those in which the study has marked the best algorithm."""
    if not (RESULTS / study / "results.csv").is_file():
        return []
    plan = StudyPlan.parse(STUDIES / f"{study}.toml", data_dir=STUDIES)  # the data are not read
    methods = {strategy.label: _method(strategy) for strategy in plan.strategies}
    rows, runs, points = (_rows(RESULTS / study / f"{name}.csv") for name in ("results", "runs", "curves"))
    cells = []
    for cell in plan.cells:
        own = [row for row in rows if row["cell"] == cell.name]
        if any(row["best"] == "true" for row in own):
            results = [_result(row, runs, points, methods) for row in own]
            results.sort(key=lambda result: result.rank, reverse=True)
            cells.append(Cell(study, cell.name, _setting(plan, cell), results))
    return cells


def _method(strategy: StudyStrategy) -> str:
    name, baseline = strategy.fixed["strategy.name"], strategy.fixed.get("training.baseline")
    return f"{baseline} ({name})" if baseline else str(name)


def _is_of(row: Row, other: Row) -> bool:
    return (row["cell"], row["strategy"]) == (other["cell"], other["strategy"])


def _point(row: Row) -> Point:
    return Point(
        round=int(row["round"]),
        mean=100 * float(row["mean_accuracy_mean"]),
        sd=100 * float(row["mean_accuracy_sd"] or 0),
        bytes_sent=float(row["bytes_sent"]),
        seconds=float(row["train_seconds"]),
        joules=float(row["joules"]) if row["joules"] else None,
    )


def _result(row: Row, runs: Sequence[Row], points: Sequence[Row], methods: Mapping[str, str]) -> Result:
    own = [run for run in runs if _is_of(run, row)]
    seconds = [float(run["train_seconds"]) for run in own if run["phase"] == "final" and run["status"] == "finished"]
    mean, sd, worst = (
        100 * float(row[name]) if row[name] else None
        for name in ("mean_accuracy_mean", "mean_accuracy_sd", "min_accuracy_mean")
    )
    return Result(
        label=_LABELS.get(row["strategy"], row["strategy"]),
        method=methods[row["strategy"]],
        is_peer=row["role"] == "peer",
        mean=mean,
        sd=sd,
        worst=worst,
        lost=int(row["diverged"]) + int(row["failed"]),
        seconds=median(seconds) if seconds else None,
        curve=[_point(point) for point in points if _is_of(point, row)],
    )


def _setting(plan: StudyPlan, cell: StudyCell) -> str:
    """Return the configuration of NGPD in a cell without its strategy, and the seeds."""
    strategy = next(strategy for strategy in plan.strategies if strategy.fixed["strategy.name"] == "ngpd")
    config = plan.report(cell, strategy, {}, plan.final.seeds[0])
    return json.dumps([config.model_dump(mode="json", exclude=_ASIDE), list(plan.final.seeds)], sort_keys=True)


def _rows(path: Path) -> list[Row]:
    """Return the rows of a file; none if the study was run before there was such a file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
