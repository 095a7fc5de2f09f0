"""``ngpd-fl calibrate``: a device class that runs take, figures from the clock, and nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config, DevicesConfig
from ngpd_fl.devices import draw_devices, read_table
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.profiling import calibration
from ngpd_fl.profiling.calibration import step_seconds
from ngpd_fl.training import compose

SHORT = ("--strategy", "dsgd", "--model", "softmax", "--local-steps", "4")


@pytest.fixture(autouse=True)
def quick_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.profiling.timing._REPEATS", 1)
    monkeypatch.setattr(calibration, "_BLOCKS", 1)
    monkeypatch.setattr(calibration, "_TURNS", 1)


def test_what_is_written_is_a_device(cli: Callable[..., Any], here: Path) -> None:
    said = cli("calibrate", *SHORT, "--out", "board.toml")
    assert (said.code, said.err.strip()) == (0, "")
    assert [path.name for path in here.iterdir()] == ["board.toml"]
    (written,) = read_table(here / "board.toml").values()
    assert "measured by ngpd-fl calibrate: softmax on digits, batch 32, 1 thread" in written.source
    assert (written.write_bytes_s or 0) > 0 and (written.memory_bytes or 0) > 2**20
    printed = re.search(r"local step of SGD +([0-9.]+) ms", said.out)
    assert printed and float(printed[1]) == pytest.approx(1000 * (written.step_seconds or 0), rel=0.01)
    assert "2.6 kB" in said.out  # 650 parameters of 4 bytes
    # What is printed as the way to use it is one.
    flags = " ".join(said.out.replace("\\\n", " ").split())
    assert "--set devices.table=board.toml --set devices.mix='{\"board\" = 1}' --set devices.relative_cost=" in flags
    devices = draw_devices(DevicesConfig(table=here / "board.toml", mix={"board": 1}), 2, seed=0)
    assert [each.step_seconds for each in devices] == [written.step_seconds] * 2


def test_a_step_is_a_share_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a node's step takes 2 ms, and each operation of the engine is done for one node at a time."""
    started = []

    def timed(job: Any, action: Callable[[], Any]) -> float:
        engine: SynchronousEngine = action.__self__  # type: ignore[attr-defined]
        started.append([len(block.nodes) for block in engine.group._blocks])
        return 0.002 * job.config.training.local_steps * 2

    monkeypatch.setattr("ngpd_fl.profiling.timing._timed", timed)
    assert step_seconds(compose(Config(model="softmax", training={"local_steps": 3}))) == pytest.approx(0.002)
    assert started and all(blocks == [1, 1] for blocks in started)


def test_the_cost_is_that_of_the_strategy(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """On a clock on which NGPD takes 3 times as long as anything else; what is timed otherwise is SGD alone."""

    def timed(job: Any, action: Callable[[], Any]) -> float:
        assert job.config.strategy.name == "ngpd" or job.config.strategy.momentum == 0
        return 0.3 if job.config.strategy.name == "ngpd" else 0.1

    monkeypatch.setattr("ngpd_fl.profiling.timing._timed", timed)
    found = calibration.calibrate(Config(model="softmax"), here)
    assert found.relative_cost == pytest.approx(3)
    assert found.sgd_seconds == pytest.approx(0.1 / 16)
    assert found.device_class().step_seconds == pytest.approx(0.1 / 16)


def test_the_least_disturbed_of_both_turns_counts(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(calibration, "_TURNS", 2)
    turns = iter([0.5, 0.9, 0.1, 1.5])  # SGD, the strategy, and again
    monkeypatch.setattr(calibration, "step_seconds", lambda job: next(turns))
    found = calibration.calibrate(Config(model="softmax", strategy="ecl"), here)
    assert (found.sgd_seconds, found.strategy_seconds) == (0.1, 0.9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "board.json"), "out: board.json is no device table; its name must end in .toml"),
        (("--out", "none/board.toml"), "out: there is no folder none; make it first, or name another file"),
        (("--out", "there.toml"), "out: there.toml is there already; nothing is overwritten, name another file"),
        (("--out", "board.toml", "--model", "vgg"), "model.name: 'vgg' is not known"),
        ((), "Missing option '--out'"),
    ],
)
def test_bad_input(words: tuple[str, ...], said: str, cli: Callable[..., Any], here: Path) -> None:
    (here / "there.toml").touch()
    answer = cli("calibrate", *words)
    assert (answer.code, answer.out, answer.err.strip().count("\n")) == (2, "", 0)
    assert said in answer.err
    assert [path.name for path in here.iterdir()] == ["there.toml"]
