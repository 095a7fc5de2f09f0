"""Runs in threads, and under a caller's settings: each is what it is alone, and nothing of the caller's changes."""

from __future__ import annotations

import os
import random
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ngpd_fl.config import Config, InputError
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.records import Progress, RunFolder
from ngpd_fl.training.callbacks import Callback, ProgressReport
from ngpd_fl.training.loop import TrainingLoop
from ngpd_fl.training.run import Result, resume, run
from tests.support.interrupted_runs import FAST, assert_same_records, interrupt

OWN = __name__


def own_data() -> tuple[Any, ...]:
    """Examples from all generators that a process has once, as users draw them."""
    targets = np.array([random.randrange(3) for _ in range(90)])
    inputs = torch.randn(90, 1, 8, 8) + torch.as_tensor(np.random.standard_normal((90, 1, 8, 8)))
    return inputs[:60], targets[:60], inputs[60:], targets[60:]


def own_model(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network whose start draws from these, and which seeds one of them."""
    torch.manual_seed(int(np.random.randint(1000)))
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, random.choice([5, 6, 7])), nn.Tanh(), nn.LazyLinear(classes))
    module(torch.zeros(1, *shape))
    return module


SHARED = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def shared_model(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The same module for every run."""
    return SHARED


CASES: dict[str, dict[str, Any]] = {
    "softmax": {"strategy": "dsgd", "model": "softmax"},
    "mlp": {"strategy": "ngpd", "partition": {"name": "dirichlet", "alpha": 5.0}},
    "threads": {
        "strategy": "dsgd",
        "model": "softmax",
        "engine": {"threads": 2},
        "training": {"rounds": 1, "local_steps": 1},
    },
    "resnet": {"strategy": "kfac-gossip", "model": "resnet8", "data": {"crop": 1, "flip": True, "noise": 0.1}},
    "own": {"strategy": "ngpd", "model": f"{OWN}:own_model", "data": {"dataset": f"{OWN}:own_data"}},
    "shared": {"strategy": "ngpd", "model": f"{OWN}:shared_model"},
    "regression": {"strategy": "ngpd", "model": "softmax", "data": {"dataset": "diabetes"}},
    "clock": {"strategy": "dsgd", "devices": {"step_sigma": 0.5}, "network": {"message_loss": 0.1}},
}


def config(name: str, seed: int = 0) -> Config:
    training = {"rounds": 2, "local_steps": 2}
    return Config(**{"seed": seed, "topology": {"nodes": 4}, "training": training, **CASES[name]})


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, int], Result]:
    keys = [*((name, 0) for name in CASES), ("softmax", 1), ("mlp", 1), ("own", 1), ("clock", 1)]
    return {key: run(config(*key)) for key in keys}


def state() -> list[Any]:
    """Return the settings and generators that a process has once."""
    values: list[Any] = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # type: ignore[index]
    values += [torch.get_num_threads(), torch.get_default_dtype(), list(warnings.filters), os.getcwd()]
    return [*values, torch.is_grad_enabled(), torch.get_default_device()]


@pytest.mark.parametrize("others", [False, True])
def test_runs_in_threads_are_those_one_after_the_other(alone: dict[tuple[str, int], Result], others: bool) -> None:
    """Up to rounding if runs differ in ``engine.threads``: MKL has one number of threads in a process."""
    before, tolerance = state(), 1e-6 if others else 0.0
    alone = {key: result for key, result in alone.items() if others or key[0] != "threads"}
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda key: run(config(*key)), alone))
        threads = list(pool.map(lambda _: torch.get_num_threads(), range(6)))
    for (key, expected), result in zip(alone.items(), found, strict=True):
        torch.testing.assert_close(result.params, expected.params, rtol=0, atol=tolerance, msg=f"{key}")
        assert [each.mean for each in result.metrics] == [each.mean for each in expected.metrics], key
    assert state() == before and threads == [torch.get_num_threads()] * 6


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "another device": lambda: torch.device("meta"),
    "lower precision": lambda: torch.autocast("cpu"),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": lambda: warnings.catch_warnings(action="error"),
}


@pytest.mark.parametrize("name", CASES)
def test_settings_of_the_caller_change_nothing(name: str, alone: dict[tuple[str, int], Result]) -> None:
    with ExitStack() as stack:
        for setting in SETTINGS.values():
            stack.enter_context(setting())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)
        random.random(), np.random.random(), torch.rand(1, device="cpu")  # draws of its own
        before = state()
        result = run(config(name))
        assert state() == before
    assert result.params.equal(alone[name, 0].params) and result.params.dtype == torch.float32


def test_a_run_within_a_run(alone: dict[tuple[str, int], Result]) -> None:
    """Threads differ: the outer run goes on with its own, and what was there before is there again."""
    seen: list[int] = []

    def on_progress(progress: Progress) -> None:
        assert run(config("threads")).params.equal(alone["threads", 0].params)
        seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    assert run(config("mlp"), callbacks=[ProgressReport(on_progress)]).params.equal(alone["mlp", 0].params)
    assert seen == [1, 1, 1] and torch.get_num_threads() == before


def test_threads_of_torch_while_runs_begin_and_end_in_turn() -> None:
    """Each thread keeps its own number, and the process' default is there again when the last one is over."""
    default, seen = torch.get_num_threads(), {}
    steps = [threading.Barrier(3, timeout=60) for _ in range(4)]

    def work(name: str, number: int, begin: int, end: int) -> None:
        for place in range(begin + 1):
            steps[place].wait()
        with own_settings(number):
            for place in range(begin + 1, end + 1):
                steps[place].wait()
                torch.ones(300, 300) @ torch.ones(300, 300)
                seen[name, place] = torch.get_num_threads()
        seen[name, "after"] = torch.get_num_threads()
        for place in range(end + 1, 4):
            steps[place].wait()

    workers = [threading.Thread(target=work, args=each) for each in (("a", 3, 0, 2), ("b", 5, 1, 3))]
    for worker in workers:
        worker.start()
    for step in steps:
        step.wait()
    for worker in workers:
        worker.join(60)
    assert seen == {
        ("a", 1): 3,
        ("a", 2): 3,
        ("b", 2): 5,
        ("b", 3): 5,
        ("a", "after"): default,
        ("b", "after"): default,
    }
    fresh: list[int] = []
    later = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    later.start()
    later.join(60)
    assert fresh == [default]


def test_of_runs_into_one_folder_one_goes_and_the_others_are_refused(tmp_path: Path) -> None:
    def attempt(seed: int) -> int | InputError:
        try:
            run(config("softmax", seed), tmp_path / "out")
        except InputError as error:
            return error
        return seed

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(attempt, range(4)))
    (seed,) = (each for each in ends if isinstance(each, int))
    assert all("is not empty" in str(each) for each in ends if isinstance(each, InputError))
    assert RunFolder.open(tmp_path / "out").config().seed == seed
    assert len(RunFolder.open(tmp_path / "out").metrics()) == 3


def test_the_working_folder_may_change_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Config(**FAST, strategy="dsgd")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run(here, Path("whole"), [ProgressReport(lambda progress: os.chdir(tmp_path / "elsewhere"))])
    assert not list((tmp_path / "elsewhere").iterdir())
    monkeypatch.chdir(tmp_path)
    interrupt(here, Path("cut"), after=4, checkpoint_every=2)
    resume("cut", [ProgressReport(lambda progress: os.chdir(tmp_path / "elsewhere"))])
    assert not list((tmp_path / "elsewhere").iterdir())
    assert_same_records(tmp_path / "cut", tmp_path / "whole")
    assert RunFolder.open(tmp_path / "cut").summary()["status"] == "finished"


def test_matrices_are_multiplied_in_float32_whatever_the_caller_has_set() -> None:
    config, seen = Config(strategy="ngpd", training={"rounds": 2}), set()

    class Watch(Callback):
        def on_round(self, run: TrainingLoop, progress: Progress) -> None:
            seen.add((torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision))

    expected = run(config).params
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        found = run(config, callbacks=[Watch()]).params
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == {("ieee", "ieee")}
    assert torch.equal(found, expected)
