"""The order of work, the search, and what is made of results, with runs of which the test says what comes of them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.study.plan import StudyPlan
from ngpd_fl.study.results import results
from ngpd_fl.study.runs import RunStore
from ngpd_fl.study.schedule import PlannedRun, Schedule
from ngpd_fl.study.tables import cells, heads
from tests.support.studies import TEXT, PretendRunStore, read

ONE_CELL = TEXT[: TEXT.index("[axes")] + TEXT[TEXT.index("[strategies.ngpd]") : TEXT.index("[strategies.gossip]")]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    return read(tmp_path_factory.mktemp("plan"))


def work(schedule: Schedule, tell: dict[str, float | str], accuracy: float | str = 0.5) -> list[PlannedRun]:
    """Do all runs, one after the other, each ending with the same accuracy; return their runs in order."""
    found = []
    for run in schedule.coming():
        if run is None:
            return found
        tell[run.key] = accuracy
        found.append(run)
    raise AssertionError("work does not end")


def test_cell_by_cell_a_trial_of_each_strategy_in_turn_then_the_seeds(plan: StudyPlan, tmp_path: Path) -> None:
    tell: dict[str, float | str] = {}
    runs = PretendRunStore(tmp_path, lambda config: tell.get(runs.key(config)))
    names = [run.name for run in work(Schedule(plan, runs), tell)]
    assert names[:11] == [
        *("ring/iid/ngpd trial 0", "ring/iid/dsgd trial 0", "ring/iid/ngpd trial 1", "ring/iid/dsgd trial 1"),
        *("ring/iid/ngpd seed 1", "ring/iid/dsgd seed 1", "ring/iid/gossip seed 1"),
        *("ring/iid/ngpd seed 2", "ring/iid/dsgd seed 2", "ring/iid/gossip seed 2", "ring/iid/ngpd seed 3"),
    ]
    for cell, strategy in plan.pairs():
        tried = [name for name in names if name.startswith(f"{cell.name}/{strategy.label} trial")]
        assert len(tried) == (2 if strategy.space else 0)
    assert len(names) == 8 * 2 + 9 * 3 == len(Schedule(plan, runs).runs())


def test_seeds_wait_for_their_own_trials_only(plan: StudyPlan, tmp_path: Path) -> None:
    runs = PretendRunStore(tmp_path, lambda config: None)
    coming = Schedule(plan, runs).coming()
    names = []
    while (run := next(coming)) is not None:
        names.append(run.name)
    assert [name for name in names if "seed" in name] == [f"ring/iid/gossip seed {seed}" for seed in (1, 2, 3)]
    assert len([name for name in names if "trial" in name]) == 8  # the second half depends on the first: TPE


def test_equal_runs_of_two_cells_are_one(tmp_path: Path) -> None:
    """Of two cells that are the same each run is done once, and counts in both."""
    text = TEXT.replace('star = {"topology.name" = "star"}', 'same = {"topology.name" = "ring"}')
    tell: dict[str, float | str] = {}
    runs = PretendRunStore(tmp_path, lambda config: tell.get(runs.key(config)))
    schedule = Schedule(read(tmp_path, text), runs)
    names = [run.name for run in work(schedule, tell)]
    assert names and not [name for name in names if name.startswith("same/")]
    assert all(run.record is not None for run in schedule.runs())


def test_the_best_trial_is_reported(tmp_path: Path) -> None:
    text = ONE_CELL.replace("trials = 2", "trials = 3").replace("[0.1, 0.2]", "{low = 0.01, high = 1.0}")

    def tell(config: Config) -> float:  # best where lr is 0.05, which is the first trial of ngpd
        return 0.9 - abs(math.log(config.strategy.lr / 0.05)) / 10  # type: ignore[attr-defined]

    plan = read(tmp_path, text)
    runs = Schedule(plan, PretendRunStore(tmp_path, tell)).runs()
    finals = {run.strategy.label: run.values for run in runs if run.phase == "final"}
    assert finals["ngpd"] == {"strategy.lr": 0.05}
    tried = [run.values["strategy.lr"] for run in runs if run.phase == "tuning" and run.strategy.label == "dsgd"]
    assert len(tried) == 3 and finals["dsgd"] == {"strategy.lr": min(tried, key=lambda lr: abs(math.log(lr / 0.05)))}


def test_tpe_draws_where_trials_were_good(tmp_path: Path) -> None:
    """Against as many random draws, the later half lies nearer to the optimum; and it is drawn so again."""
    text = ONE_CELL.replace("trials = 2", "trials = 20")

    def tell(config: Config) -> float:
        return 0.9 - abs(math.log(config.strategy.lr / 0.3)) / 10  # type: ignore[attr-defined]

    def distances(sampler: str) -> list[float]:
        plan = read(tmp_path, text.replace("[final]", f'sampler = "{sampler}"\n[final]'))
        runs = Schedule(plan, PretendRunStore(tmp_path, tell)).runs()
        mine = [run for run in runs if run.phase == "tuning" and run.strategy.label == "ngpd"]
        assert len(mine) == 20 and mine[0].values == {"strategy.lr": 0.05}
        return [abs(math.log(run.values["strategy.lr"] / 0.3)) for run in mine if run.values]

    tpe, random = distances("tpe"), distances("random")
    assert tpe[:10] == random[:10]
    assert sum(tpe[10:]) < 0.6 * sum(random[10:])
    assert tpe == distances("tpe")


def told(tmp_path: Path, **accuracies: Any) -> tuple[StudyPlan, list[dict[str, Any]]]:
    """Return the rows where each strategy's seeds 1, 2 and 3 end as told, and every trial with 50 %."""
    plan = read(tmp_path, TEXT[: TEXT.index("[axes")] + TEXT[TEXT.index("[strategies.ngpd]") : TEXT.index("only =")])

    def tell(config: Config) -> float | str | None:
        label = {"kfac-gossip": "gossip"}.get(config.strategy.name, config.strategy.name)
        return 0.5 if config.seed == 0 else accuracies[label][config.seed - 1]  # type: ignore[no-any-return]

    schedule = Schedule(plan, PretendRunStore(tmp_path, tell))
    return plan, results(schedule, schedule.runs())


def test_means_are_over_the_seeds_and_the_best_peer_is_marked(tmp_path: Path) -> None:
    plan, rows = told(tmp_path, ngpd=[0.80, 0.84, 0.82], dsgd=[0.85, 0.81, 0.83], gossip=[0.9, 0.9, 0.9])
    assert [row["strategy"] for row in rows] == ["dsgd", "ngpd", "gossip"]  # the baseline is not ranked
    dsgd, ngpd, gossip = rows
    assert dsgd["mean_accuracy_mean"] == pytest.approx(0.83) and dsgd["mean_accuracy_sd"] == pytest.approx(0.02)
    assert ngpd["min_accuracy_mean"] == pytest.approx(0.72)
    assert [(row["best"], row["near"]) for row in rows] == [(True, False), (False, True), (False, False)]
    assert (dsgd["reached_0.4"], dsgd["rounds_to_0.4"], dsgd["bytes_sent_to_0.4"]) == (3, 5, 5000)
    assert (gossip["reached_0.99"], gossip["rounds_to_0.99"]) == (0, None)
    table = dict(zip(heads(plan, rows), cells(plan, rows)[0], strict=True))
    assert (table["mean"], table["rounds to 40 %"], table["bytes sent to 40 %"]) == ("83.00 ± 2.00 %", "5", "5.0 kB")
    assert (table["rounds to 99 %"], table["seeds"]) == ("not reached", "3")


def test_a_run_that_diverged_is_told_and_ranks_last(tmp_path: Path) -> None:
    plan, rows = told(tmp_path, ngpd=[0.95, "diverged", 0.97], dsgd=[0.2, 0.3, None], gossip=["diverged"] * 3)
    assert [row["strategy"] for row in rows] == ["dsgd", "ngpd", "gossip"]
    dsgd, ngpd, gossip = rows
    assert (dsgd["finished"], dsgd["best"], ngpd["best"]) == (2, False, False)  # one is still missing
    assert ngpd["mean_accuracy_mean"] == pytest.approx(0.96) and ngpd["diverged"] == 1
    assert gossip["mean_accuracy_mean"] is None
    assert [line[-1] for line in cells(plan, rows)] == ["2 of 3", "3, diverged 1 of 3", "3, diverged 3 of 3"]
    assert [line[1] for line in cells(plan, rows)] == ["25.00 ± 7.07 %", "96.00 ± 1.41 %", "-"]


def test_among_those_that_diverged_sometimes_none_is_the_best(tmp_path: Path) -> None:
    _, rows = told(tmp_path, ngpd=[0.95, "diverged", 0.97], dsgd=[0.2, 0.3, 0.25], gossip=[0.5] * 3)
    assert [(row["strategy"], row["best"], row["near"]) for row in rows[:2]] == [
        ("dsgd", True, False),
        ("ngpd", False, False),
    ]
    _, rows = told(tmp_path, ngpd=[0.95, "diverged", 0.97], dsgd=["diverged"] * 3, gossip=[0.5] * 3)
    assert [(row["strategy"], row["best"]) for row in rows[:2]] == [("ngpd", False), ("dsgd", False)]


def test_where_all_trials_diverge_nothing_is_reported(tmp_path: Path) -> None:
    plan = read(tmp_path, ONE_CELL)

    def tell(config: Config) -> float | str:
        return "diverged" if config.strategy.name == "ngpd" else 0.5

    schedule = Schedule(plan, PretendRunStore(tmp_path, tell))
    runs = schedule.runs()
    assert [run.name for run in runs if run.phase == "final"] == [f"all/dsgd seed {seed}" for seed in (1, 2, 3)]
    rows = results(schedule, runs)
    assert [row["strategy"] for row in rows] == ["dsgd", "ngpd"]
    assert cells(plan, rows)[1][-1] == "no trial finished"


def test_nothing_is_begun_that_would_end_too_late(tmp_path: Path) -> None:
    """Trials of ngpd take 10 s, those of dsgd 30 s: of their second ones, 20 s allow ngpd's alone."""
    plan = read(tmp_path, ONE_CELL)
    tell: dict[str, float | str] = {}
    runs = PretendRunStore(tmp_path, lambda config: tell.get(runs.key(config)))
    coming = Schedule(plan, runs).coming(time.monotonic() + 20)
    for seconds in (10.0, 30.0):
        run = next(coming)
        assert run is not None and run.number == 0
        tell[run.key] = 0.5
        runs.times[run.key] = seconds
    names = []
    while (run := next(coming)) is not None:
        names.append(run.name)
        tell[run.key] = 0.5
    assert names == ["all/ngpd trial 1", "all/ngpd seed 1", "all/ngpd seed 2", "all/ngpd seed 3"]
    schedule = Schedule(plan, runs)
    runs = schedule.runs()
    missing = [run for run in runs if run.record is None]
    assert [schedule.seconds(run, schedule.rates(runs)) for run in missing] == [
        30.0
    ] * 4  # a trial and three seeds of dsgd


def test_a_run_is_the_same_wherever_its_data_lie() -> None:
    here, there = (Config(data={"dataset": "mnist", "data_dir": place}) for place in ("/here", "/there"))
    assert (
        RunStore.key(here)
        == RunStore.key(there)
        != RunStore.key(Config(data={"dataset": "cifar10", "data_dir": "/here"}))
    )


def test_trials_grow_with_the_keys_of_a_search(tmp_path: Path) -> None:
    text = ONE_CELL.replace("trials = 2", "trials_per_key = 3")
    text = text.replace(
        'search = {"strategy.lr" = [0.1, 0.2]',
        'search = {"strategy.momentum" = [0.0, 0.9], "strategy.lr" = {low = 0.01, high = 1.0}',
    )
    tell: dict[str, float | str] = {}
    plan = read(tmp_path, text)
    keys = {strategy.label: len(strategy.space) for strategy in plan.strategies}
    runs = PretendRunStore(tmp_path, lambda config: tell.get(runs.key(config)))
    names = [run.name for run in work(Schedule(plan, runs), tell)]
    trials = {label: sum(f"/{label} trial" in name for name in names) for label in keys}
    assert set(keys.values()) == {1, 2} and trials == {label: 3 * number for label, number in keys.items()}
