"""Figures and settings in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ngpd_fl.config import Config
from ngpd_fl.records import ACCURACY, RMSE
from ngpd_fl.report import Outcome, units, write_comparison
from ngpd_fl.report.page.curves import LOSS
from ngpd_fl.report.setting import common_words, graph_words, partition_words, setting_words
from ngpd_fl.report.table import end_words, heads, line_by_line, ranked, side_by_side
from ngpd_fl.training.run import run

MakeOutcome = Callable[..., Outcome]

HEADS = ("", "mean acc.", "min acc.", "averaged", "best mean", "consensus", "sent", "train time")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (ACCURACY.text(0.92355), "92.4 %"),
        (ACCURACY.text(1.0), "100.0 %"),
        (RMSE.text(54.1484), "54.15"),
        (RMSE.text(5.0), "5.000"),
        (RMSE.text(123456.7), "1.235e+05"),
        (RMSE.text(math.inf), "not finite"),
        (units.short_percent(0.9), "90 %"),
        (units.short_percent(0.07), "7 %"),
        (units.short_percent(0.9255), "92.55 %"),
        (units.size(0), "0 B"),
        (units.size(999), "999 B"),
        (units.size(9_235_200), "9.2 MB"),
        (units.size(3e15), "3000.0 TB"),
        (units.rate(1234.4), "1,234"),
        (units.rate(9.96), "10"),
        (units.rate(0.2623), "0.26"),
        (units.seconds(0), "0.00 s"),
        (units.seconds(6.57), "6.6 s"),
        (units.seconds(59.96), "1:00 min"),
        (units.seconds(75), "1:15 min"),
        (units.seconds(3_725), "1:02:05 h"),
        (units.energy(0), "0.00 J"),
        (units.energy(457.2), "457 J"),
        (units.energy(12_345), "12.3 kJ"),
        (units.energy(999.7), "1.00 kJ"),
        (units.energy(4.2e9), "4.2 GJ"),
        (units.Spread(1.9, 0.0035).text(LOSS), "1.90 ± 0.00"),
        (units.Spread(0.024, 0.00071).text(LOSS), "0.0240 ± 0.0007"),
        (units.Spread(12.0, 3.4).text(LOSS), "12.0 ± 3.4"),
        (units.Spread(1.2e-7, 3.4e-8).text(LOSS), "1.20e-07 ± 3.40e-08"),
        (units.Spread(0.9234, 0.0042).text(ACCURACY), "92.34 ± 0.42 %"),
        (units.distance(1.6), "1.60"),
        (units.distance(1.234e-8), "1.23e-08"),
        (units.distance(None), "not finite"),
    ],
)
def test_units(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        ({"name": "ring"}, "ring of 8 nodes"),
        ({"name": "circulant"}, "circulant graph (offsets 1, 2) of 8 nodes"),
        ({"name": "torus", "rows": 2}, "torus (rows 2) of 8 nodes"),
        ({"name": "random-regular"}, "random-regular graph (degree 3) of 8 nodes"),
        ({"name": "edges", "nodes": 2, "edges": [[0, 1]]}, "given graph of 2 nodes"),
        ({"name": "star", "schedule": "failing"}, "star of 8 nodes, edges failing at random"),
        ({"name": "sequence", "nodes": 2, "graphs": [[[0, 1]], []]}, "given sequence of graphs of 2 nodes"),
    ],
)
def test_graphs(topology: dict[str, object], words: str) -> None:
    assert graph_words(Config(topology=topology)) == words


def test_settings() -> None:
    config = Config(partition={"name": "dirichlet", "alpha": 0.1}, training={"rounds": 1}, seed=7)
    assert partition_words(config) == "digits, dirichlet (alpha 0.1, min_size 10)"
    assert setting_words(config).endswith("; 1 round of 8 local steps; seed 7")
    assert "ngpd" not in setting_words(config)
    own = Config(data={"dataset": "object:Tensor"}, partition={"name": "indices", "file": "object:list"})
    assert partition_words(own) == "own data, own lists"
    assert common_words([config, config]) == setting_words(config)
    assert common_words([config, Config()]) == "runs with different settings"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("finished", "finished after 5 rounds"),
        ("diverged", "diverged in round 5 of 5"),
        ("failed", "failed after round 5 of 5"),
        ("interrupted", "interrupted after round 5 of 5"),
        ("unfinished", "unfinished after round 5 of 5"),
    ],
)
def test_ends(make_outcome: MakeOutcome, status: str, words: str) -> None:
    assert end_words(make_outcome(status=status)) == words


def test_the_best_run_comes_first_and_one_that_diverged_last(make_outcome: MakeOutcome) -> None:
    good, bad, gone = (
        make_outcome("good", mean_accuracy=0.9),
        make_outcome("bad", mean_accuracy=0.2),
        make_outcome("gone", mean_accuracy=0.99, status="diverged"),
    )
    assert [outcome.name for outcome in ranked([gone, bad, good])] == ["good", "bad", "gone"]
    first, *rows = side_by_side([gone, bad, good])
    assert first == (*HEADS, "status")
    assert {len(row) for row in rows} == {len(first)}
    assert side_by_side([good])[0] == HEADS == heads([good])


def test_of_runs_with_a_target_the_one_that_reached_it_first_is_the_best(make_outcome: MakeOutcome) -> None:
    early, late, never, gone = (
        make_outcome("early", target=0.34, rounds=4, mean_accuracy=0.34),
        make_outcome("late", target=0.34, rounds=5, mean_accuracy=0.4),
        make_outcome("never", target=0.34, rounds=2),
        make_outcome("gone", target=0.34, rounds=3, status="diverged"),
    )
    heads, *rows = side_by_side([gone, never, late, early])
    assert heads == (*HEADS, "rounds to target", "status")
    assert [row[0] for row in rows] == ["early", "late", "never", "gone"]
    assert [row[-2] for row in rows] == ["4", "5", "not reached", "not reached"]


def test_runs_with_different_targets_are_ranked_by_accuracy(make_outcome: MakeOutcome) -> None:
    modest, good, free = (
        make_outcome("modest", target=0.2, rounds=2, mean_accuracy=0.2),
        make_outcome("good", target=0.9),
        make_outcome("free"),
    )
    heads, *rows = side_by_side([modest, good, free])
    assert [(row[0], row[-1]) for row in rows] == [("good", "not reached"), ("free", "no target"), ("modest", "2")]


def test_what_a_target_cost(make_outcome: MakeOutcome) -> None:
    lines = dict(line_by_line(make_outcome(target=0.345, mean_accuracy=0.35)))
    assert lines["target"] == "mean 34.5 % reached in round 5 (800.0 kB sent, 2.5 s of training)"
    assert "target" not in dict(line_by_line(make_outcome()))
    assert dict(line_by_line(make_outcome(target=0.5)))["target"] == "mean 50 % not reached"


def test_figures_side_by_side(make_outcome: MakeOutcome) -> None:
    last = {"mean_accuracy": 0.3, "min_accuracy": 0.2, "averaged_model_accuracy": 0.4}
    assert side_by_side([make_outcome(**last)])[1] == (
        "ngpd",
        "30.0 %",
        "20.0 %",
        "40.0 %",
        "30.2 % (4)",  # the best was the evaluation before
        "0.500",
        "800.0 kB",
        "2.5 s",
    )


def test_errors_are_the_better_the_lower(make_regression: MakeOutcome) -> None:
    good, bad, gone = (
        make_regression("good", mean_rmse=50.0),
        make_regression("bad", mean_rmse=70.0),
        make_regression("gone", mean_rmse=None),
    )
    assert [outcome.name for outcome in ranked([gone, bad, good])] == ["good", "bad", "gone"]
    assert side_by_side([bad])[0] == ("", "mean RMSE", "max RMSE", *HEADS[3:])
    last = {"min_rmse": 40.0, "max_rmse": 60.0, "averaged_model_rmse": 45.0}
    row = side_by_side([make_regression(mean_rmse=80.0, **last)])[1]
    assert row[:5] == ("ngpd", "80.00", "60.00", "45.00", "72.86 (4)")  # the best was the evaluation before
    assert gone.best is gone.metrics[4]


def test_errors_line_by_line(make_regression: MakeOutcome) -> None:
    said = dict(line_by_line(make_regression(mean_rmse=50.0, min_rmse=40.0, max_rmse=60.0, mean_own_rmse=30.0)))
    assert said["RMSE of the nodes"] == "mean 50.00, worst 60.00, best 40.00"
    assert said["on their own bins"] == "mean 30.00"
    assert said["R2"] == "mean 0.250, averaged model 0.500"


def test_runs_of_both_kinds_stand_in_one_table(make_outcome: MakeOutcome, make_regression: MakeOutcome) -> None:
    first, *rows = side_by_side([make_outcome("classes"), make_regression("targets")])
    assert first[:3] == ("", "mean", "worst")
    assert {row[0]: row[1][-1] == "%" for row in rows} == {"classes": True, "targets": False}


def test_figures_of_all_parameters_may_come_at_the_end_or_never(make_outcome: MakeOutcome) -> None:
    unknown = dict.fromkeys(("averaged_model_accuracy", "averaged_model_class_accuracy", "consensus_distance"))
    outcome = make_outcome(**unknown)
    lines = dict(line_by_line(outcome))
    assert (lines["averaged model"], lines["consensus distance"]) == ("-", "-")
    outcome.summary["final"] = {"averaged_model_accuracy": 0.5, "consensus_distance": 0.25}
    lines = dict(line_by_line(outcome))
    assert (lines["averaged model"], lines["consensus distance"]) == ("50.0 %", "0.250")
    assert side_by_side([outcome])[1][3:6:2] == ("50.0 %", "0.250")


def test_nothing_evaluated_yet() -> None:
    outcome = Outcome("ngpd", Config(), [], {"status": "unfinished"})
    assert line_by_line(outcome) == [("status", "unfinished after round 0 of 30")]
    assert side_by_side([outcome])[1][1:-1] == ("-",) * (len(HEADS) - 1)


def test_comparison_files(tmp_path: Path) -> None:
    for name in ("dsgd", "ecl"):
        run(Config(strategy=name, training={"rounds": 1}, topology={"nodes": 3}), tmp_path / name)
    write_comparison(tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert {entry["name"] for entry in content["runs"]} == {"dsgd", "ecl"}
    heading, _, first, rule, *rows = (tmp_path / "comparison.md").read_text().splitlines()
    assert heading == content["setting"]
    assert {line.count("|") for line in (first, rule, *rows)} == {len(HEADS) + 1}


def test_no_comparison_of_nothing(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_and_lost_messages_are_said() -> None:
    step = {"lr_schedule": "step", "lr_milestones": [9, 20], "lr_warmup": 2}
    words = setting_words(Config(training=step, network={"message_loss": 0.1}))
    assert words.endswith("8 local steps, lr by step after 9, 20, warm-up 2, 10 % of messages lost; seed 0")
    lie = {"burst_begin": 0.1, "byzantine": [{"node": 0, "kind": "gaussian"}]}
    assert setting_words(Config(faults=lie)).endswith(", faults (burst_begin, byzantine); seed 0")
    assert setting_words(Config()).endswith("30 rounds of 8 local steps; seed 0")


CLOCK = {
    "mode": "neighbor-synchronous",
    "node_device": ["pi", "nano", "pi", "pi"],
    "node_rounds": [5, 5, 2, 4],
    "messages_sent": 1234,
    "messages_taken": 1200,
    "messages_on_their_way": 4,
    "messages_dropped": {"outdated": 10, "lost": 20},
    "staleness": {"0": 900, "2": 300},
}


def test_a_run_by_the_clock(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(target=0.34, mean_accuracy=0.35, virtual_seconds=75.0, joules=12_345.0)
    outcome.summary["clock"] = CLOCK
    said = dict(line_by_line(outcome))
    assert said["clock"] == "neighbor-synchronous; 3 pi, 1 nano"
    assert said["virtual time"] == "1:15 min"
    assert said["energy"] == "12.3 kJ"
    assert said["rounds of a node"] == "2 to 5, mean 4.0"
    assert said["messages"] == "1,234 sent, 1,200 received, 20 lost, 10 outdated, 4 in flight"
    assert said["staleness"] == "mean 0.50, at most 2 (rounds of the receiver)"
    assert said["target"].endswith("1:15 min of virtual time, 12.3 kJ)")


def test_energy_that_is_not_known_and_no_clock(make_outcome: MakeOutcome) -> None:
    assert dict(line_by_line(make_outcome(virtual_seconds=1.0)))["energy"] == "not known"
    assert not {"clock", "virtual time", "energy", "messages"} & dict(line_by_line(make_outcome())).keys()


def test_by_the_clock_side_by_side(make_outcome: MakeOutcome) -> None:
    """The quickest to the target comes first, be its rounds as many as they are."""
    slow, quick = (make_outcome(name, rounds, target=0.2) for name, rounds in (("slow", 4), ("quick", 5)))
    for outcome, seconds in ((slow, 50.0), (quick, 10.0)):
        outcome.metrics[:] = [
            each.model_copy(update={"virtual_seconds": seconds * each.round, "joules": 3.0 * each.round})
            for each in outcome.metrics
        ]
    heads, *rows = side_by_side([slow, quick])
    assert heads == (*HEADS, "virtual time", "energy", "rounds to target")
    assert [(row[0], *row[-3:-1]) for row in rows] == [("quick", "50.0 s", "15.0 J"), ("slow", "3:20 min", "12.0 J")]


def test_the_setting_says_how_rounds_are_run_and_what_on() -> None:
    config = Config(
        training={"mode": "neighbor-synchronous", "timeout_seconds": 2.5},
        devices={"mix": {"raspberry-pi-4": 3, "jetson-nano": 1}, "slow": {3: 10.0}, "step_sigma": 0.5},
    )
    assert (
        "neighbor-synchronous, timeout 2.5 s, devices drawn, 75 % raspberry-pi-4, 25 % jetson-nano, "
        "spread of step times 0.5, slow: 3 (x 10); seed 0" in setting_words(config)
    )
    assert "synchronous" not in setting_words(Config())
    assert "synchronous, devices 8 jetson-nano;" in setting_words(Config(devices={"classes": ["jetson-nano"] * 8}))
