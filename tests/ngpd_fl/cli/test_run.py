"""``ngpd-fl run``: what it prints and leaves behind, in good and in bad ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config, TrainingConfig
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.records import RunFolder
from strategies import DSGDOptions
from topologies import TorusOptions

ROOT = Path(__file__).resolve().parents[3]
SHORT = ("run", "--strategy", "dsgd", "--rounds", "2", "--nodes", "4", "--local-steps", "2")
PLOTS = {"accuracy_rounds", "accuracy_bytes", "accuracy_seconds", "consensus", "graph", "partition"}
FILES = {
    "config.toml",
    "environment.json",
    "label_counts.json",
    "metrics.jsonl",
    "models.safetensors",
    "plots",
    "summary.json",
}


def test_a_run_as_the_documentation_shows_it(cli: Callable[..., Any], here: Path) -> None:
    words = "run --dataset digits --strategy ngpd --topology ring --nodes 8 --rounds 3 --seed 0 --out DIR"
    said = cli(*words.split())
    assert said.code == 0
    assert {path.name for path in (here / "DIR").iterdir()} == FILES
    assert {path.name for path in (here / "DIR" / "plots").iterdir()} == {f"{name}.png" for name in PLOTS}
    last = RunFolder.open(here / "DIR").metrics()[-1]
    assert f"mean {100 * last.mean_accuracy:.1f} %, worst {100 * last.min_accuracy:.1f} %" in said.out
    assert "finished after 3 rounds" in said.out
    assert said.out.endswith("records in DIR\npictures in DIR/plots; `ngpd-fl report DIR` writes a web page about it\n")
    assert [line.split("  ")[1] for line in said.err.splitlines()] == [f"round {round}/3" for round in range(4)]


def test_quiet_prints_nothing(quick: Callable[..., Any]) -> None:
    assert quick(*SHORT, "--quiet") == (0, "", "")


def test_records_get_free_names(quick: Callable[..., Any], here: Path) -> None:
    (here / "runs" / "digits-dsgd-2").mkdir(parents=True)
    for _ in range(2):
        assert quick(*SHORT, "--quiet").code == 0
    found = {path.name: any(path.iterdir()) for path in (here / "runs").iterdir()}
    assert found == {"digits-dsgd-1": True, "digits-dsgd-2": False, "digits-dsgd-3": True}


def test_an_empty_folder_is_taken(quick: Callable[..., Any], here: Path) -> None:
    (here / "out").mkdir()
    assert quick(*SHORT, "--quiet", "--out", "out").code == 0
    assert (here / "out" / "summary.json").exists()


@pytest.fixture
def configured(quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """What ``run`` would train with these words."""
    taken: list[Config] = []
    monkeypatch.setattr(sys.modules["ngpd_fl.cli.run"], "train", lambda config, *_, **__: taken.append(config))

    def call(*words: str) -> Config:
        assert quick("run", *words).code == 0
        return taken[-1]

    return call


def test_flags_file_and_objects_give_the_same(configured: Callable[..., Config], here: Path) -> None:
    objects = Config(
        seed=3,
        data={"batch_size": 16, "data_dir": "somewhere"},
        partition="iid",
        topology=TorusOptions(nodes=12),
        strategy=DSGDOptions(lr=0.2),
        model="softmax",
        training=TrainingConfig(rounds=7, local_steps=4, until_accuracy=0.9),
        engine={"device": "cpu"},
    )
    (here / "config.toml").write_text(objects.to_toml())
    flags = (
        "--lr 0.2 --dataset digits --data-dir somewhere --partition iid --strategy dsgd --topology torus --nodes 12 "
        "--model softmax --rounds 7 --until-accuracy 0.9 --local-steps 4 --batch-size 16 --seed 3 --device cpu"
    )
    assert configured(*flags.split()) == configured("--config", "config.toml") == objects


def test_flags_win_over_the_file_and_set_over_flags(configured: Callable[..., Config], here: Path) -> None:
    (here / "config.toml").write_text('strategy = "dsgd"\n[training]\nrounds = 5\nlocal_steps = 3\n')
    config = configured("--config", "config.toml", "--rounds", "9", "--lr", "0.3", "--set", "strategy.lr=0.4")
    assert config == Config(strategy=DSGDOptions(lr=0.4), training=TrainingConfig(rounds=9, local_steps=3))


def test_no_words_but_run_is_the_default_configuration(configured: Callable[..., Config]) -> None:
    assert configured() == Config()


def test_a_run_ends_at_its_target_with_what_it_cost(quick: Callable[..., Any], here: Path) -> None:
    words = ("run", "--rounds", "12", "--set", "training.lr_schedule=cosine")
    assert quick(*words, "--out", "whole", "--quiet").code == 0
    whole = RunFolder.open(here / "whole").metrics()
    first = next(each for each in whole if each.mean_accuracy >= 0.55)
    assert 0 < first.round < 12

    said = quick(*words, "--until-accuracy", "0.55", "--out", "out")
    assert (said.code, said.err.splitlines()[-1]) == (0, f"ngpd  mean 55 % reached in round {first.round}")
    found, summary = RunFolder.open(here / "out").metrics(), RunFolder.open(here / "out").summary()
    # Up to its end it is the run without a target: the schedule of lr is that of all rounds.
    assert [each.accuracy for each in found] == [each.accuracy for each in whole[: first.round + 1]]
    assert (summary["status"], summary["rounds"], summary["rounds_planned"]) == ("finished", first.round, 12)
    cost = {"round": first.round, "bytes_sent": first.bytes_sent, "train_seconds": summary["train_seconds"]}
    cost |= {"virtual_seconds": None, "joules": None}
    assert summary["target"] == {"mean_accuracy": 0.55, "reached": True, **cost}
    assert f"finished after {first.round} of 12 rounds" in said.out
    assert f"mean 55 % reached in round {first.round} (" in said.out
    assert "at most 12 rounds of 8 local steps, until 55 % mean accuracy" in " ".join(said.out.split())


def test_a_target_is_looked_for_where_the_run_is_evaluated(quick: Callable[..., Any], here: Path) -> None:
    words = "run --rounds 12 --until-accuracy 0.75 --set evaluation.every=5 --out out --quiet"
    assert quick(*words.split()) == (0, "", "")
    assert [each.round for each in RunFolder.open(here / "out").metrics()] == [0, 5, 10]


def test_a_target_that_is_not_reached_is_no_failure(quick: Callable[..., Any], here: Path) -> None:
    said = quick(*SHORT, "--until-accuracy", "1", "--out", "out")
    assert (said.code, said.err.splitlines()[-1]) == (0, "dsgd  mean 100 % not reached in 2 rounds")
    assert "mean 100 % not reached" in said.out and "finished after 2 rounds" in said.out
    summary = RunFolder.open(here / "out").summary()
    nothing = dict.fromkeys(("round", "bytes_sent", "train_seconds", "virtual_seconds", "joules"))
    assert summary["target"] == {"mean_accuracy": 1, "reached": False, **nothing}
    assert summary["status"] == "finished"


def test_a_start_that_is_good_enough_needs_no_round(cli: Callable[..., Any], here: Path) -> None:
    said = cli(*SHORT, "--until-accuracy", "0.01", "--out", "out")
    assert said.code == 0
    assert "finished after 0 of 2 rounds" in said.out
    assert RunFolder.open(here / "out").summary()["target"]["bytes_sent"] == 0


def test_divergence_is_an_error_with_its_round_and_its_records(cli: Callable[..., Any], here: Path) -> None:
    said = cli("run", "--strategy", "dsgd", "--lr", "1e6", "--rounds", "20", "--out", "out")
    assert said.code == 1
    assert "diverged in round 1 of 20" in said.out
    error = said.err.splitlines()[-1]
    assert error.startswith("ngpd-fl: error: dsgd diverged in round 1 (training loss: ")
    assert error.endswith("; records are kept in out")
    assert {path.name for path in (here / "out").iterdir()} == FILES
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert (summary["diverged"], summary["status"], summary["rounds"]) == (True, "diverged", 1)
    assert cli("show", "out").code == 0


def test_divergence_between_evaluations_is_seen_in_its_round(quick: Callable[..., Any], here: Path) -> None:
    words = ("run", "--strategy", "ecl", "--lr", "1e4", "--rounds", "20", "--set", "evaluation.every=10", "--quiet")
    assert "ecl diverged in round 1 (" in quick(*words, "--out", "out").err
    assert [metrics.round for metrics in RunFolder.open(here / "out").metrics()] == [0, 1]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let the third round raise."""
    run_round = SynchronousEngine.run_round

    def arm(error: BaseException) -> None:
        def stumble(engine: SynchronousEngine) -> Any:
            if engine.round == 2:
                raise error
            return run_round(engine)

        monkeypatch.setattr(SynchronousEngine, "run_round", stumble)

    return arm


def test_a_failure_is_one_line_and_keeps_the_records(
    quick: Callable[..., Any], here: Path, broken: Callable[[BaseException], None]
) -> None:
    broken(RuntimeError("out of\nluck"))
    said = quick("run", "--rounds", "5", "--out", "out", "--quiet")
    error = "ngpd-fl: error: ngpd failed in round 3: RuntimeError: out of luck; records are kept in out\n"
    assert said == (1, "", error)
    assert {path.name for path in (here / "out").iterdir()} == FILES - {"plots"}
    shown = quick("show", "out")
    assert (shown.code, "failed after round 2 of 5" in shown.out) == (0, True)


def test_debug_brings_the_traceback(
    quick: Callable[..., Any], broken: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(RuntimeError("out of luck"))
    monkeypatch.setenv("NGPD_FL_DEBUG", "1")
    said = quick("run", "--rounds", "5", "--quiet")
    assert said.code == 1
    assert "in stumble" in said.err


def test_an_error_outside_of_training_is_one_line(quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Any) -> None:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr("ngpd_fl.cli.flags.ConfigFlags.load", stumble)
    said = quick("run")
    assert said == (1, "", "ngpd-fl: error: ZeroDivisionError: of all things (NGPD_FL_DEBUG=1 shows where)\n")


def test_an_interruption_completes_the_records(
    quick: Callable[..., Any], here: Path, broken: Callable[[BaseException], None]
) -> None:
    broken(KeyboardInterrupt())
    said = quick("run", "--rounds", "5", "--out", "out", "--quiet")
    assert said == (
        130,
        "",
        "ngpd-fl: ngpd interrupted after round 2 of 5; records are kept in out, "
        "`ngpd-fl show out --plots` draws them\n",
    )
    assert RunFolder.open(here / "out").summary()["status"] == "interrupted"


def test_an_interruption_before_anything_is_recorded_leaves_nothing(
    quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ngpd_fl.training.run.compose", stumble)
    said = quick("run")
    assert said == (130, "", "ngpd-fl: ngpd interrupted after round 0 of 30; nothing was recorded\n")
    assert list(here.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_process_of_its_own(here: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-m", "ngpd_fl", "run", "--rounds", "5000", "--strategy", "dsgd", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "round    0/5000" in process.stderr.readline()
        while process.poll() is None and (here / "out" / "metrics.jsonl").read_text().count("\n") < 2:
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("ngpd-fl: dsgd interrupted after round ")
    assert "Traceback" not in errors
    folder = RunFolder.open(here / "out")
    assert (folder.summary()["status"], len(folder.metrics()) >= 2) == ("interrupted", True)
    assert folder.parameters("node0").keys() == folder.parameters().keys()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_an_early_control_c(tmp_path: Path, seconds: float) -> None:
    """Before the run has begun, while libraries are still being imported."""
    words = [sys.executable, "-m", "ngpd_fl", "run", "--rounds", "5000", "--strategy", "dsgd", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode != 0  # 130, or what Python gives if not even the command line was there
    assert errors
