"""Runs that differ in the seed only are one group, those set the same task one cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ngpd_fl.report import Outcome
from ngpd_fl.report.costs import COSTS
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.curves import curves, thinned
from ngpd_fl.report.page.details import run_names
from ngpd_fl.report.page.groups import Group, make_cells
from ngpd_fl.report.page.tables import group_values
from ngpd_fl.report.page.target import cost_text, default_target, missing_costs
from tests.ngpd_fl.report.conftest import errors, metrics
from tests.ngpd_fl.report.page.conftest import tiny


def made(rounds: int = 2, status: str = "finished", **values: Any) -> RecordedRun:
    config = tiny(**values)
    found = [metrics(round, 4) for round in range(rounds + 1)]
    return RecordedRun(Path("run"), Outcome("run", config, found, {"status": status}), {})


def test_groups_and_their_labels() -> None:
    rates = [0.1, 0.2]
    runs = [made(seed=seed, strategy={"name": "dsgd", "lr": lr}) for seed in (2, 1) for lr in rates]
    (cell,) = make_cells([*runs, made(strategy="ngpd")])
    assert sorted(group.label for group in cell.groups) == ["dsgd (lr 0.1)", "dsgd (lr 0.2)", "ngpd"]
    assert all([run.config.seed for run in group.runs] == [1, 2] for group in cell.groups if group.strategy == "dsgd")


def test_the_same_run_twice_counts_once() -> None:
    (cell,) = make_cells([made(), made(), made(seed=1), made(seed=2, status="interrupted")])
    (group,) = cell.groups
    assert [run.config.seed for run in group.runs] == [0, 0, 1, 2]
    assert [run.config.seed for run in group.counted] == [0, 1]
    (alone,) = make_cells([made(), made()])
    assert alone.groups[0].final("mean_accuracy").sd is None


def test_a_reference_is_named_and_stands_below_whatever_it_reaches() -> None:
    reference = made(9, strategy="dsgd", training={"baseline": "fedavg"})
    (cell,) = make_cells([reference, made(1, strategy="dsgd"), made(2, strategy="ngpd")])
    assert [group.label for group in cell.groups] == ["ngpd", "dsgd", "fedavg (dsgd)"]
    assert [group.is_baseline for group in cell.groups] == [False, False, True]
    (alone,) = make_cells([reference])
    assert alone.groups[0].label == "fedavg (dsgd)"


def test_a_part_that_is_given_by_its_name_tells_groups_apart_by_its_own() -> None:
    codec = {"name": "quantize", "bits": 4}
    strategies = [{"name": "dsgd", "compress": codec}, "dsgd"]
    (cell,) = make_cells([made(strategy=strategy) for strategy in strategies])
    assert sorted(group.label for group in cell.groups) == ["dsgd", "dsgd (compress quantize, bits 4)"]


def test_threads_alone_tell_groups_apart_only_where_nothing_else_does() -> None:
    (cell,) = make_cells([made(engine={"threads": 1}), made(engine={"threads": 2})])
    assert {group.label for group in cell.groups} == {"ngpd (threads 1)", "ngpd (threads 2)"}
    (cell,) = make_cells([made(), made(engine={"threads": 2}, strategy={"name": "ngpd", "lr": 0.2})])
    assert {group.label for group in cell.groups} == {"ngpd (lr 0.05)", "ngpd (lr 0.2)"}


def test_names_of_runs_tell_them_apart() -> None:
    ring, path = ({"name": name, "nodes": 4} for name in ("ring", "path"))
    runs = [made(topology=ring), made(topology=path), made(topology=path, seed=1)]
    assert run_names(make_cells(runs)) == [
        "ngpd, seed 0: ring of 4 nodes",
        "ngpd, seed 0: path of 4 nodes",
        "ngpd, seed 1",
    ]
    again = [replace(made(), path=Path(folder)) for folder in ("a/first", "a/second", "b/second")]
    assert run_names(make_cells(again)) == ["ngpd, seed 0: first", "ngpd, seed 0: a/second", "ngpd, seed 0: b/second"]


def test_an_object_is_named_as_the_users_own() -> None:
    networks = make_cells([made(model=name) for name in ("object:Net", "object:Other", "softmax")])
    assert [cell.title.rpartition("; ")[2].partition(", ")[0] for cell in networks] == [
        "own network Net",
        "own network Other",
        "model softmax",
    ]


def test_cells_are_named_by_what_differs() -> None:
    ring, path = ({"name": name, "nodes": 4} for name in ("ring", "path"))
    titles = [cell.title for cell in make_cells([made(topology=ring), made(topology=path)])]
    assert titles == ["ring of 4 nodes", "path of 4 nodes"]
    titles = [cell.title for cell in make_cells([made(), made(network={"message_loss": 0.1})])]
    assert all("ring of 4 nodes" in title for title in titles)
    assert [title.rpartition("; ")[2] for title in titles] == ["message_loss 0", "message_loss 0.1"]


def test_an_algorithm_that_diverged_once_ranks_behind() -> None:
    (cell,) = make_cells(
        [made(8, strategy="dsgd"), made(9, "diverged", strategy="dsgd", seed=1), made(1, strategy="ngpd")]
    )
    assert [group.label for group in cell.groups] == ["ngpd", "dsgd"]
    assert cell.groups[1].ends == "1 of 2 diverged"
    assert cell.groups[1].final("mean").mean == metrics(8, 4).mean


def test_a_curve_is_mean_and_deviation_by_round() -> None:
    group = Group("x", [made(2), made(1, seed=1)], False, {})
    line = curves(group, COSTS[:2])
    assert line["spent"]["rounds"] == [0, 1, 2] and line["spent"]["bytes"] == [0, 160_000, 320_000]
    assert line["lines"]["mean"]["sd"] == [0, 0, None]
    assert line["lines"]["worst"]["mean"] == [0.1, 0.15, 0.2]


def test_a_cost_is_the_median_over_the_runs_that_reach_the_target() -> None:
    """Accuracies rise by 0.05 a round from 0.1 on, here from another round on in each run."""
    runs = [made(seed=seed) for seed in range(4)]
    for run, late in zip(runs, (0, 1, 6, 20), strict=True):
        run.outcome.metrics[:] = [
            metrics(max(round - late, 0), 4).model_copy(update={"round": round}) for round in range(12)
        ]
    rounds = COSTS[0]
    assert cost_text(Group("x", runs[:3], False, {}), rounds, 0.25) == "4"
    assert cost_text(Group("x", runs[:2], False, {}), rounds, 0.25) == "3.5"
    assert cost_text(Group("x", runs, False, {}), rounds, 0.25) == "4 (3 of 4)"
    assert cost_text(Group("x", runs[3:], False, {}), rounds, 0.25) == "not reached"


def test_a_cost_that_is_not_shown_has_a_reason() -> None:
    def missing(*clocks: float | None) -> list[str]:
        runs = [made(seed=seed) for seed in range(len(clocks))]
        for run, clock in zip(runs, clocks, strict=True):
            run.outcome.metrics[:] = [metrics(1, 4, virtual_seconds=clock, joules=1.0)]
        (cell,) = make_cells(runs)
        return missing_costs(cell)

    assert missing(1.0, 2.0) == []
    assert missing(None, 2.0) == ["virtual time: not every run here has a virtual clock"]
    assert missing(None, None) == ["virtual time: no run here has a virtual clock"]


def test_thinned_keeps_both_ends() -> None:
    assert thinned(range(1000), 5)[::4] == [0, 999] and len(thinned(range(1000), 5)) == 5
    assert thinned([1, 2], 5) == [1, 2]


def test_the_target_is_nine_tenths_of_the_best_end() -> None:
    """Runs end with a mean of 0.1015 + 0.05 x rounds."""
    (cell,) = make_cells([made(2, strategy="dsgd"), made(8, strategy="ngpd"), made(18, "diverged", strategy="ecl")])
    assert default_target(cell) == (0.451, "90 % of the best at the end")  # 0.9 x 0.5015
    (cell,) = make_cells([made(2, training={"rounds": 3, "until_accuracy": 0.2})])
    assert default_target(cell) == (0.2, "at which the runs ended")
    (cell,) = make_cells([made(2, "diverged")])
    assert default_target(cell) is None


def test_the_target_of_an_error_lies_above_the_best() -> None:
    run = made(2)
    run.outcome.metrics[:] = [errors(2, 4)]
    (cell,) = make_cells([run])
    assert default_target(cell) == (91.0, "111 % of the best at the end")  # 81.865 / 0.9


def test_quantities_beside_the_measure() -> None:
    group = Group("x", [made(2)], False, {})
    lines = curves(group, COSTS[:1])["lines"]
    assert lines["train_loss"]["mean"] == [None, 1, 1] and lines["consensus_distance"]["mean"] == [0, 0.1, 0.2]
    assert group.final("train_loss").mean == 1 and group.final("consensus_distance").mean == 0.2


def test_values_of_classes_are_means_over_the_runs() -> None:
    runs = [made(seed=seed) for seed in (1, 2)]
    for run, value in zip(runs, (0.5, 1.0), strict=True):
        run.outcome.metrics[:] = [metrics(2, 4, class_accuracy=[value, None, 0.25, *[0.5] * 7])]
    (cell,) = make_cells(runs)
    assert group_values(cell) == [[("75.0 %", 75), ("", 0), ("25.0 %", 25), *[("50.0 %", 50)] * 7]]
