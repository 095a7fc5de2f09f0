"""A run's folder holds what is needed to evaluate it, to use its models, and to run it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ngpd_fl.data import load_dataset
from ngpd_fl.models import build_model
from ngpd_fl.records import RunFolder

SUMMARY = {
    "strategy": str,
    "topology": str,
    "dataset": str,
    "nodes": int,
    "parameters": int,
    "rounds": int,
    "rounds_planned": int,
    "status": str,
    "bytes_sent": int,
    "node_steps": int,
    "train_seconds": float,
    "node_steps_per_second": float,
    "evaluation_seconds": float,
    "diverged": bool,
    "unused_classes": list,
}
FINAL = {"mean_accuracy", "min_accuracy", "averaged_model_accuracy", "consensus_distance"}
TIMINGS = {"train_seconds"}


@pytest.fixture
def recorded(quick: Callable[..., Any], here: Path) -> RunFolder:
    words = "run --strategy ngpd --rounds 5 --nodes 6 --set evaluation.every=2 --set network.message_loss=0.1 --out out"
    assert quick(*words.split()).code == 0
    return RunFolder.open(here / "out")


def without_timings(folder: RunFolder) -> list[dict[str, Any]]:
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMINGS} for line in lines]


def test_there_is_a_line_per_evaluation(recorded: RunFolder) -> None:
    metrics = recorded.metrics()
    assert [line["round"] for line in without_timings(recorded)] == [0, 2, 4, 5]
    assert [each.round for each in metrics] == [0, 2, 4, 5]
    for each in metrics:
        assert (len(each.accuracy), len(each.class_accuracy)) == (6, 10)
        assert each.mean_accuracy == pytest.approx(sum(each.accuracy) / 6)
        assert (each.min_accuracy, each.max_accuracy) == (min(each.accuracy), max(each.accuracy))
        assert each.node_steps == each.round * 8 * 6
    spent = [(each.train_seconds, each.bytes_sent) for each in metrics]
    assert spent == sorted(spent)
    # 12 directed edges, a message of 4,810 floats of 4 bytes on each; lost ones count as sent.
    assert metrics[-1].bytes_sent == 5 * 12 * 4811 * 4


def test_the_summary_says_what_the_last_line_says(recorded: RunFolder) -> None:
    summary, last = recorded.summary(), recorded.metrics()[-1]
    assert {key: type(summary[key]) for key in SUMMARY} == SUMMARY
    assert FINAL <= summary["final"].keys()
    assert {key: getattr(last, key) for key in summary["final"]} == summary["final"]
    assert (summary["strategy"], summary["topology"], summary["nodes"], summary["rounds"]) == ("ngpd", "ring", 6, 5)
    assert (summary["bytes_sent"], summary["node_steps"]) == (last.bytes_sent, last.node_steps)
    assert summary["node_steps_per_second"] == pytest.approx(summary["node_steps"] / summary["train_seconds"])
    assert (summary["diverged"], summary["status"]) == (False, "finished")


def test_classes_on_no_node_are_recorded_and_said(quick: Callable[..., Any], here: Path) -> None:
    said = quick("run", "--strategy", "dsgd", "--nodes", "3", "--rounds", "1", "--out", "out")
    assert RunFolder.open(here / "out").summary()["unused_classes"] == [6, 7, 8, 9]
    assert "classes 6, 7, 8, 9" in said.out


@pytest.mark.parametrize("name", ["node0", "node5", "average"])
def test_models_give_the_recorded_accuracy_in_the_plain_module(recorded: RunFolder, name: str) -> None:
    config, last = recorded.config(), recorded.metrics()[-1]
    test = load_dataset(config.data, config.seed).test
    module = build_model(config.model, test.inputs.shape[1:], 10, config.seed, torch.float32).module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()  # nothing is left of the start
        module.load_state_dict(recorded.parameters(name))
        hits = (module(test.inputs).argmax(-1) == test.labels).sum().item()
    expected = last.averaged_model_accuracy if name == "average" else last.accuracy[int(name[4:])]
    assert hits / len(test) == pytest.approx(expected, abs=1e-12)


def test_the_recorded_configuration_runs_again_bit_for_bit(
    recorded: RunFolder, quick: Callable[..., Any], here: Path
) -> None:
    assert quick("run", "--config", "out/config.toml", "--out", "again", "--quiet").code == 0
    again = RunFolder.open(here / "again")
    assert (again.path / "config.toml").read_bytes() == (recorded.path / "config.toml").read_bytes()
    assert without_timings(again) == without_timings(recorded)
    first, second = (load_file(folder.path / "models.safetensors") for folder in (recorded, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_another_run(recorded: RunFolder, quick: Callable[..., Any], here: Path) -> None:
    assert quick("run", "--config", "out/config.toml", "--seed", "1", "--out", "other", "--quiet").code == 0
    assert without_timings(RunFolder.open(here / "other")) != without_timings(recorded)
