"""Figures and settings in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ngpd_fl.config import Config
from ngpd_fl.report import Outcome, units, write_comparison
from ngpd_fl.report.setting import common_words, graph_words, setting_words, split_words
from ngpd_fl.report.table import HEADS, end_words, line_by_line, ranked, side_by_side
from ngpd_fl.running import run

MakeOutcome = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (units.percent(0.92355), "92.4 %"),
        (units.percent(1.0), "100.0 %"),
        (units.percent(None), "-"),
        (units.size(0), "0 B"),
        (units.size(999), "999 B"),
        (units.size(9_235_200), "9.2 MB"),
        (units.size(3e15), "3000.0 TB"),
        (units.seconds(0), "0.00 s"),
        (units.seconds(6.57), "6.6 s"),
        (units.seconds(59.96), "1:00 min"),
        (units.seconds(75), "1:15 min"),
        (units.seconds(3_725), "1:02:05 h"),
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
    assert split_words(config) == "digits, dirichlet (alpha 0.1, min_size 10)"
    assert setting_words(config).endswith("; 1 round of 8 local steps; seed 7")
    assert "ngpd" not in setting_words(config)
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
    heads, *rows = side_by_side([gone, bad, good])
    assert heads == (*HEADS, "status")
    assert {len(row) for row in rows} == {len(heads)}
    assert side_by_side([good])[0] == HEADS


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


def test_figures_of_all_parameters_may_come_at_the_end_or_never(
    make_outcome: MakeOutcome,
) -> None:
    outcome = make_outcome(averaged_model_accuracy=None, consensus_distance=None)
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
    heading, _, heads, rule, *rows = (tmp_path / "comparison.md").read_text().splitlines()
    assert heading == content["setting"]
    assert {line.count("|") for line in (heads, rule, *rows)} == {len(HEADS) + 1}


def test_no_comparison_of_nothing(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    assert list(tmp_path.iterdir()) == []
