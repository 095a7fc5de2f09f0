"""Runs that start from the models of another run, or go on with a finished one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl import Callback, Config, InputError, RunFolder, resume, run
from ngpd_fl.cli.app import main
from ngpd_fl.training import compose
from ngpd_fl.training.loop import TrainingLoop
from tests.support.interrupted_runs import FAST, interrupt, timeless

SHORT: dict[str, Any] = {**FAST, "training": {"rounds": 2, "local_steps": 2}}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; ``params.pt`` in it has every node's parameters."""
    folder = tmp_path_factory.mktemp("earlier") / "run"
    torch.save(run(Config(**SHORT, strategy="dsgd"), folder).params, folder / "params.pt")
    return folder


def nodes_of(folder: Path) -> torch.Tensor:
    params: torch.Tensor = torch.load(folder / "params.pt")
    return params


RANDOM_K = {"name": "ngpd", "compress": {"name": "random-k"}}
TOP_K = {"name": "dsgd", "compress": {"name": "top-k"}}


def still(strategy: dict[str, Any] | str, model: dict[str, Any], **more: Any) -> Config:
    """A run of one round whose steps are too small to be seen."""
    named = {"name": strategy} if isinstance(strategy, str) else strategy
    training = {"rounds": 1, "local_steps": 1, **more.pop("training", {})}
    changes = {"training": training, "model": {"name": "softmax", **model}, "strategy": {"lr": 1e-30, **named}, **more}
    return Config(**{**SHORT, **changes})


def test_all_nodes_start_from_the_averaged_model_of_a_run(earlier: Path) -> None:
    mean = nodes_of(earlier).mean(0)
    for job in (
        compose(Config(**{**SHORT, "model": {"name": "softmax", "init": earlier}})),
        compose(Config(**{**SHORT, "model": {"name": "softmax", "init": earlier / "models.safetensors"}})),
    ):
        torch.testing.assert_close(job.model.start(), mean)
    first = run(Config(**SHORT), init=earlier).metrics[0]
    assert first.consensus_distance == 0 and first.mean > 0.15


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
@pytest.mark.parametrize(
    "strategy",
    [
        "dsgd",
        "ngpd",
        "ecl",
        "d2",
        "gradient-tracking",
        TOP_K,
        RANDOM_K,
    ],
    ids=str,
)
def test_each_node_starts_from_its_own_model(earlier: Path, strategy: Any, mode: str) -> None:
    reliable = not isinstance(strategy, str) and strategy["name"] == "dsgd"
    if mode == "asynchronous" and reliable:
        mode = "neighbor-synchronous"
    config = still(strategy, {"init": earlier, "init_per_node": True}, training={"mode": mode})
    starts, seen = nodes_of(earlier), []

    class See(Callback):
        def on_start(self, run: TrainingLoop) -> None:
            seen.append(run.engine.params())

    result = run(config, callbacks=[See()])
    torch.testing.assert_close(seen[0], starts)
    assert result.metrics[0].consensus_distance > 0
    assert result.summary["status"] == "finished"


@pytest.mark.parametrize("strategy", ["dsgd", "ecl", "ngpd", TOP_K, RANDOM_K], ids=str)
def test_nodes_with_starts_of_their_own_find_together(earlier: Path, strategy: Any) -> None:
    """With tiny steps towards the data, averaging and duals bring all nodes to one point, and averaging to their mean.

    With copies of messages that do not belong to the neighbors' starts, top-k would not move at all.
    """
    options = {"init": earlier, "init_per_node": True}
    result = run(still(strategy, options, training={"rounds": 60}, evaluation={"every": 60}))
    first, last = result.metrics
    assert last.consensus_distance < 0.35 * first.consensus_distance
    if strategy in ("dsgd", "ecl", TOP_K):
        torch.testing.assert_close(result.params.mean(0), nodes_of(earlier).mean(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"init": "nowhere"}, r"model.init: nowhere: cannot be read \(No such file or directory\)"),
        ({"init": "."}, r"model.init: \. holds no models.safetensors; expected the folder of a run that has ended"),
        (
            {"init": "m.pt"},
            r"model.init: m.pt: cannot be read as a .safetensors file \(.*; safetensors.torch.save_file\(.* writes one",
        ),
        ({"init_per_node": True}, "model.init_per_node: needs a run's folder to start from; set model.init"),
    ],
)
def test_what_no_run_can_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(2)}, "m.pt")
    with pytest.raises(InputError, match=f"^{words}$"):
        compose(Config(**{**SHORT, "model": {"name": "softmax", **model}}))


def test_a_run_of_other_nodes_or_of_another_network(earlier: Path) -> None:
    own = {"name": "softmax", "init": earlier, "init_per_node": True}
    with pytest.raises(InputError, match=r"^model.init_per_node: .* has 4 models, which are not those of 3 nodes"):
        compose(Config(**{**SHORT, "topology": {"nodes": 3}, "model": own}))
    with pytest.raises(InputError, match="^model.init: .*parameter .* has shape .*; the network's has "):
        compose(Config(**{**SHORT, "model": {**own, "name": "mlp"}}))
    with pytest.raises(InputError, match="^model.init_per_node: training.baseline = all-reduce trains one model"):
        Config(**{**SHORT, "training": {"baseline": "all-reduce"}, "model": own}, strategy="dsgd")


def test_the_command_starts_from_a_run(earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = "--model softmax --nodes 4 --rounds 1 --strategy dsgd --set model.init_per_node=true --quiet --out next"
    assert main(["run", "--init", str(earlier), *flags.split()]) == 0
    config = RunFolder.open(tmp_path / "next").config()
    assert config.model.init == earlier and config.model.init_per_node


@pytest.mark.parametrize(("strategy", "every"), [("ngpd", 3), ("momentum-tracking", 8), ("dsgd", None)])
@pytest.mark.parametrize("schedule", [{}, {"lr_schedule": "step", "lr_milestones": [6], "lr_warmup": 2}])
def test_a_finished_run_goes_on(tmp_path: Path, strategy: str, every: int | None, schedule: dict[str, Any]) -> None:
    def configured(rounds: int) -> Config:
        return Config(**{**FAST, "training": {"rounds": rounds, "local_steps": 2, **schedule}}, strategy=strategy)

    run(configured(8), tmp_path / "run", checkpoint_every=every)
    longer = resume(tmp_path / "run", rounds=11, on_event=lambda line: None)
    whole = run(configured(11), tmp_path / "whole")
    assert torch.equal(longer.params, whole.params)
    assert [line.round for line in longer.metrics] == ([0, 3, 6, 8, 9, 11] if every == 8 else [0, 3, 6, 9, 11])
    assert timeless(longer.summary) == timeless(whole.summary) or every == 8
    assert (tmp_path / "run/config.toml").read_text() == (tmp_path / "whole/config.toml").read_text()


def test_a_longer_run_can_be_cut_short_and_go_on_again(tmp_path: Path) -> None:
    config = Config(**FAST, strategy="dsgd")
    interrupt(config, tmp_path / "run", after=5, checkpoint_every=2)
    assert resume(tmp_path / "run", rounds=9).summary["rounds"] == 9
    whole = run(Config(**{**FAST, "training": {"rounds": 12, "local_steps": 2}}, strategy="dsgd"))
    assert torch.equal(resume(tmp_path / "run", rounds=12).params, whole.params)


def test_a_crash_between_the_two_files_of_a_longer_run_loses_nothing(tmp_path: Path) -> None:
    run(Config(**FAST, strategy="dsgd"), tmp_path / "run", checkpoint_every=4)
    text = (tmp_path / "run/config.toml").read_text()
    with_lock = RunFolder.reopen(tmp_path / "run", finished=True)
    with_lock.extend(10)
    with_lock.close()
    longer = (tmp_path / "run/config.toml").read_text()
    (tmp_path / "run/config.toml").write_text(text)  # as if only environment.json had been written
    assert resume(tmp_path / "run", rounds=10).summary["rounds"] == 10
    assert (tmp_path / "run/config.toml").read_text() == longer


@pytest.mark.parametrize(
    ("training", "more", "rounds", "words"),
    [
        ({}, {}, 8, "rounds: the run has 8 already; allowed: 9 and more"),
        (
            {"lr_schedule": "cosine"},
            {},
            9,
            "cannot go on beyond its end, training.lr_schedule = cosine spreads",
        ),
        (
            {},
            {"devices": {"seconds_per_step": 0.02}},
            9,
            "its end, the virtual clock plans all rounds",
        ),
        (
            {"until_accuracy": 0.01},
            {},
            9,
            "its end, it ended at its training.until_accuracy; a new run",
        ),
    ],
)
def test_runs_that_cannot_become_longer(
    tmp_path: Path, training: dict[str, Any], more: dict[str, Any], rounds: int, words: str
) -> None:
    config = Config(**{**FAST, "training": {"rounds": 8, "local_steps": 2, **training}}, strategy="dsgd", **more)
    run(config, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(InputError, match=words):
        resume(tmp_path / "run", rounds=rounds)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


def test_the_command_goes_on_with_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Config(**FAST, strategy="dsgd"), tmp_path / "run", checkpoint_every=4)
    assert main(["resume", str(tmp_path / "run"), "--rounds", "9"]) == 0
    assert "finished after 9 rounds" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/summary.json").read_text())["rounds_planned"] == 9
    assert main(["resume", str(tmp_path / "run"), "--rounds", "9"]) == 2
    assert "rounds: the run has 9 already; allowed: 10 and more" in capsys.readouterr().err
