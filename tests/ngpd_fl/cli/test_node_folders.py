"""Data that lie at their nodes on the command line: exported, run on, evaluated again, looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.records import RunFolder
from tests.support.node_folders import describe, make_nodes

SHORT = ("--rounds", "1", "--nodes", "4", "--local-steps", "2", "--strategy", "dsgd", "--quiet")
HERE = ("--dataset", "node-folders", "--data-dir", "nodes")


def test_an_export_holds_what_the_table_says_and_can_be_run(quick: Callable[..., Any], here: Path) -> None:
    said = quick("partition", "--nodes", "4", "--export", "nodes", "--out", "one.png")
    assert "exported to" in said.out and "144 validation images left out" in " ".join(said.out.split())
    files = {path.relative_to("nodes").as_posix() for path in Path("nodes").rglob("*") if path.is_file()}
    assert files == {"dataset.toml", "test.npz", *(f"node{node}/train.npz" for node in range(4))}
    assert quick("run", *SHORT, *HERE, "--set", "data.validation_fraction=0", "--out", "apart").code == 0
    assert quick("run", *SHORT, "--out", "whole").code == 0
    apart, whole = (
        RunFolder.open(name).metrics()[-1].model_dump(exclude={"train_seconds"}) for name in ("apart", "whole")
    )
    assert apart == whole
    table = quick("partition", *HERE, "--nodes", "4", "--set", "data.validation_fraction=0", "--out", "two.png").out
    assert table.splitlines()[:7] == said.out.splitlines()[:7] and "node-folders, given" in table


def test_what_is_no_empty_folder_is_left_alone(quick: Callable[..., Any], here: Path) -> None:
    make_nodes(here / "nodes")
    said = quick("partition", "--export", "nodes")
    assert (said.code, said.err) == (
        2,
        "ngpd-fl: error: export: nodes is not empty; nothing is overwritten, name another folder\n",
    )
    assert not (here / "runs").exists()
    said = quick("partition", *HERE, "--nodes", "4", "--export", "new")
    assert said.code == 2 and "node-folders lies at its nodes" in said.err and not (here / "new").exists()


def test_models_are_judged_again_each_on_its_nodes_own(quick: Callable[..., Any], here: Path) -> None:
    make_nodes(here / "nodes")
    said = quick("run", *SHORT[:-1], *HERE, "--out", "run")
    assert said.code == 0 and "evaluated on" in said.out and "each node's own test images" in said.out
    said = quick("evaluate", "run", "--out", "again.json")
    assert "38 test images of node-folders, each model on its node's own" in " ".join(said.out.split())
    again, last = json.loads(Path("again.json").read_text()), RunFolder.open("run").metrics()[-1]
    assert again["evaluated_on"] == "own"
    for key in ("accuracy", "own_accuracy", "mean_accuracy", "averaged_model_accuracy", "class_accuracy"):
        assert again[key] == pytest.approx(getattr(last, key)), key
    said = quick("evaluate", "run", "--split", "validation")
    assert said.code == 0 and "8 validation images" in " ".join(said.out.split())
    said = quick("evaluate", "run", "--dataset", "digits")
    assert said.code == 2 and "does not fit digits" in said.err


def test_doctor_says_whose_data_are_here(
    quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ngpd_fl.profiling.doctor import _data_sets

    (here / "test").mkdir()
    make_nodes(here, nodes=1)
    assert [each for each in _data_sets(here) if each.name == "node-folders"][0].result == "data of 1 node, 3 classes"
    describe(here, "")
    found = [each for each in _data_sets(here) if each.state == "wrong"]
    assert [each.name for each in found] == ["node-folders"] and "needs either classes, labels or targets" in found[
        0
    ].remedy
