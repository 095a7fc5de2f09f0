"""``ngpd-fl compare``: the same data, graph and seed for each, one table, and no run that stops the others."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.records import RunFolder

SHORT = ("--rounds", "2", "--nodes", "4", "--local-steps", "2")


def config_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "config.toml").read_text())


def test_a_comparison(cli: Callable[..., Any], here: Path) -> None:
    said = cli("compare", "--strategies", "ngpd,dsgd", *SHORT, "--name", "demo")
    assert said.code == 0
    folder = here / "runs" / "demo-1"
    assert {path.name for path in folder.iterdir()} == {"ngpd", "dsgd", "plots", "comparison.json", "comparison.md"}
    assert {path.name for path in (folder / "plots").iterdir()} == {
        f"{name}.png" for name in ("accuracy_rounds", "accuracy_bytes", "accuracy_seconds", "consensus")
    }
    ngpd, dsgd = config_of(folder / "ngpd"), config_of(folder / "dsgd")
    assert (ngpd.pop("strategy")["name"], dsgd.pop("strategy")["name"]) == ("ngpd", "dsgd")
    assert ngpd == dsgd
    assert len({RunFolder.open(folder / name).metrics()[0].mean_accuracy for name in ("ngpd", "dsgd")}) == 1

    comparison = json.loads((folder / "comparison.json").read_text())
    assert "ring of 4 nodes" in comparison["setting"]
    for run in comparison["runs"]:
        assert run == {"name": run["strategy"], **RunFolder.open(folder / run["name"]).summary()}
    means = [run["final"]["mean_accuracy"] for run in comparison["runs"]]
    assert means == sorted(means, reverse=True)

    rows = [line for line in (folder / "comparison.md").read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {row.count("|") for row in rows} == {9}
    for mean in means:
        assert f"{100 * mean:.1f} %" in said.out
    foot = (
        "records in runs/demo-1 pictures in runs/demo-1/plots; `ngpd-fl report runs/demo-1` writes a web page about it"
    )
    assert " ".join(said.out.split()).endswith(foot) and max(map(len, said.out.splitlines())) <= 80


def test_names_are_free(quick: Callable[..., Any], here: Path) -> None:
    for _ in range(2):
        assert quick("compare", "--strategies", "dsgd", *SHORT, "--name", "demo", "--quiet") == (0, "", "")
    assert quick("compare", "--strategies", "dsgd", *SHORT, "--quiet").code == 0
    assert {path.name for path in (here / "runs").iterdir()} == {"demo-1", "demo-2", "digits-comparison-1"}


def test_keys_for_one_and_keys_for_all(quick: Callable[..., Any], here: Path) -> None:
    (here / "config.toml").write_text("[strategy]\nname = 'ngpd'\ndamping = 0.5\n")
    words = ("--config", "config.toml", "--lr", "0.2", "--set", "dsgd.lr=0.1", "--set", "dsgd.training.local_steps=3")
    said = quick("compare", "--strategies", "ngpd,dsgd,ecl", *SHORT, *words, "--out", "out", "--quiet")
    assert said == (0, "", "")
    configs = {name: config_of(here / "out" / name) for name in ("ngpd", "dsgd", "ecl")}
    assert {name: config["strategy"]["lr"] for name, config in configs.items()} == {
        "ngpd": 0.2,
        "dsgd": 0.1,
        "ecl": 0.2,
    }
    assert [configs[name]["training"]["local_steps"] for name in ("ngpd", "dsgd")] == [2, 3]
    assert configs["ngpd"]["strategy"]["damping"] == 0.5  # the file is about this one


def test_one_that_diverges_does_not_stop_the_others(quick: Callable[..., Any], here: Path) -> None:
    said = quick("compare", "--strategies", "dsgd,ngpd", *SHORT, "--set", "dsgd.lr=1e6", "--out", "out", "--quiet")
    assert (said.code, said.out) == (1, "")
    diverged, summary = said.err.splitlines()
    assert diverged.startswith("ngpd-fl: error: dsgd diverged in round 1 (training loss: ")
    assert summary == "ngpd-fl: error: dsgd did not finish; records are kept in out"
    runs = json.loads((here / "out" / "comparison.json").read_text())["runs"]
    assert [(run["name"], run["status"]) for run in runs] == [("ngpd", "finished"), ("dsgd", "diverged")]
    assert "diverged in round 1 of 2" in (here / "out" / "comparison.md").read_text()
    assert "diverged in round 1 of 2" in quick("show", "out").out


def test_a_target_is_each_runs_own_end_and_ranks_them(quick: Callable[..., Any], here: Path) -> None:
    said = quick("compare", "--strategies", "dsgd,ngpd", "--rounds", "8", "--until-accuracy", "0.5", "--out", "out")
    assert said.code == 0
    runs = json.loads((here / "out" / "comparison.json").read_text())["runs"]
    assert [(run["name"], run["target"]["reached"]) for run in runs] == [("ngpd", True), ("dsgd", False)]
    first = runs[0]["target"]["round"]
    assert first == runs[0]["rounds"] < runs[1]["rounds"] == 8
    heads, _, *rows = [line for line in (here / "out" / "comparison.md").read_text().splitlines() if line[:1] == "|"]
    assert [line.split(" | ")[-1] for line in (heads, *rows)] == ["rounds to target |", f"{first} |", "not reached |"]
    assert f"ngpd  mean 50 % reached in round {first}\n" in said.err
    assert "dsgd  mean 50 % not reached in 8 rounds\n" in said.err
    assert quick("show", "out") == (0, said.out, "")


def stumbling(error: BaseException) -> Callable[[SynchronousEngine], Any]:
    """Let the second round of NGPD raise."""
    run_round = SynchronousEngine.run_round

    def stumble(engine: SynchronousEngine) -> Any:
        if engine.round == 1 and engine.group._strategy.options.name == "ngpd":
            raise error
        return run_round(engine)

    return stumble


def test_one_that_fails_does_not_stop_the_others(
    quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SynchronousEngine, "run_round", stumbling(RuntimeError("boom")))
    said = quick("compare", "--strategies", "ngpd,dsgd", *SHORT, "--out", "out", "--quiet")
    assert said.code == 1
    assert "ngpd failed in round 2: RuntimeError: boom; records are kept in out/ngpd" in said.err
    assert RunFolder.open(here / "out" / "dsgd").summary()["status"] == "finished"


def test_an_interruption_stops_all_and_keeps_what_is_there(
    quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SynchronousEngine, "run_round", stumbling(KeyboardInterrupt()))
    said = quick("compare", "--strategies", "dsgd,ngpd,ecl", *SHORT, "--out", "out", "--quiet")
    assert said == (
        130,
        "",
        "ngpd-fl: ngpd interrupted after round 1 of 2; records are kept in out/ngpd, "
        "`ngpd-fl show out/ngpd --plots` draws them\n",
    )
    runs = json.loads((here / "out" / "comparison.json").read_text())["runs"]
    assert {run["name"]: run["status"] for run in runs} == {"dsgd": "finished", "ngpd": "interrupted"}


REFUSE = ("--set", "ngpd.other_layers=refuse")


def test_all_are_checked_before_the_first_is_trained(
    quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that one algorithm cannot train is known to be so before the other has spent its time."""
    (here / "nets_of_mine.py").write_text(
        "from torch import nn\n\n\nclass Odd(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(nn.init.normal_(nn.Linear(64, 10).weight.data))\n\n"
        "    def forward(self, x):\n        return x.flatten(1) @ self.weight.T\n\n\n"
        "def net(input_shape, num_classes):\n    return Odd()\n"
    )
    monkeypatch.syspath_prepend(str(here))
    said = quick("compare", "--strategies", "dsgd,ngpd", *SHORT, "--model", "nets_of_mine:net", *REFUSE, "--out", "out")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert not (here / "out").exists()
