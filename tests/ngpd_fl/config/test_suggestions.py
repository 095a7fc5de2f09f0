"""Errors after a typo: one short line that names the closest word and all that is allowed."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

import ngpd_fl
from ngpd_fl import Config
from ngpd_fl.cli import main
from ngpd_fl.config import InputError, choices
from ngpd_fl.devices.draws import draw_devices
from ngpd_fl.flower.run_config import FlowerConfig


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"stratgy": "ngpd"}, "stratgy: unknown key; did you mean 'strategy'? allowed: seed, data, "),
        ({"rounds": 3}, "rounds: unknown key; did you mean 'training.rounds'? allowed: seed, data, "),
        ({"damping": 3}, "damping: unknown key; did you mean 'strategy.damping'? allowed: seed, data, "),
        (
            {"training": {"batch_size": 8}},
            "training.batch_size: unknown key; did you mean 'data.batch_size'? allowed: rounds, ",
        ),
        ({"data": {"name": "digits"}}, "data.name: unknown key; allowed: dataset, "),
        ({"strategy": {"name": "dsgd", "damping": 1}}, "strategy.damping: unknown key; allowed: name, "),
        ({"alpha": 3}, "alpha: unknown key; did you mean 'partition.alpha'? allowed: seed, data, "),
        (
            {"topology": {"weights": "metropols"}},
            "topology.weights: input should be 'metropolis', 'max-degree' or 'uniform' (got 'metropols'; did you mean ",
        ),
        (
            {"strategy": "ngdp"},
            "strategy.name: 'ngdp' is not known; did you mean 'ngpd'? allowed: ngpd, ngpd-tracking, ecl, ",
        ),
        ({"strategy": {"name": "NGPD"}}, "strategy.name: 'NGPD' is not known; did you mean 'ngpd'? allowed: "),
        ({"strategy": {"name": "dsgd", "momentun": 1}}, "strategy.momentun: unknown key; did you mean 'momentum'? "),
        ({"topology": "rign"}, "topology.name: 'rign' is not known; did you mean 'ring'? allowed: ring, "),
        (
            {"topology": "random_regular"},
            "topology.name: 'random_regular' is not known; did you mean 'random-regular",
        ),
        ({"topology": {"node": 8}}, "topology.node: unknown key; did you mean 'nodes'? allowed: "),
        ({"partition": "dirichelt"}, "partition.name: 'dirichelt' is not known; did you mean 'dirichlet'? allowed: "),
        ({"data": {"dataset": "minst"}}, "data.dataset: 'minst' is not known; did you mean 'mnist'? allowed: digits, "),
        ({"model": "resnet18"}, "model.name: 'resnet18' is not known; did you mean 'resnet8'? allowed: softmax, "),
        (
            {"model": {"loss": "crossentropy"}},
            "model.loss: 'crossentropy' is not known; did you mean 'cross-entropy'?",
        ),
        ({"training": {"round": 3}}, "training.round: unknown key; did you mean 'rounds'? allowed: rounds, "),
        (
            {"training": {"mode": "async"}},
            "training.mode: input should be 'synchronous', 'neighbor-synchronous' or 'asynchronous' "
            "(got 'async'; did you mean ",
        ),
        ({"engine": {"dtype": "float46"}}, "engine.dtype: input should be 'float32' or 'float64' (got 'float46'; did "),
        ({"model": "zzz"}, "model.name: 'zzz' is not known; allowed: softmax, "),
    ],
)
def test_a_typo_in_the_configuration(values: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError) as caught:
        Config(**values)
    assert str(caught.value).startswith(error), str(caught.value)
    printed = "".join(traceback.format_exception(caught.value))
    assert printed.count("Traceback") == 1 and "pydantic" not in printed and len(printed.splitlines()) <= 8


def test_a_typo_in_what_only_flower_has() -> None:
    with pytest.raises(InputError) as caught:
        FlowerConfig(**{"nodes-per-clients": 2})
    assert "did you mean 'nodes" in str(caught.value)
    assert "".join(traceback.format_exception(caught.value)).count("Traceback") == 1


SWEEP = 'model = "softmax"\n[sweep]\n{}\n[sweep.keys]\n{} = [0.1]\n'


@pytest.mark.parametrize(
    ("section", "key", "error"),
    [
        ("", "strategy.lrr", "sweep.keys.strategy.lrr: unknown key; did you mean 'strategy.lr'? allowed: "),
        (
            "sampler = 'gird'",
            "strategy.lr",
            "sweep.sampler: input should be 'grid', 'random' or 'tpe' (got 'gird'",
        ),
        (
            "objective = 'mean_acuracy'",
            "strategy.lr",
            "sweep.objective: 'mean_acuracy' is not a final figure of these ",
        ),
        ("trial = 3", "strategy.lr", "sweep.trial: unknown key; did you mean 'trials'? allowed: "),
    ],
)
def test_a_typo_in_a_sweep(
    section: str, key: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "search.toml").write_text(SWEEP.format(section, key))
    assert main(["sweep", str(tmp_path / "search.toml"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ngpd-fl: error: {error}") and "did you mean" in said and said.count("\n") == 1


def test_a_typo_in_a_device() -> None:
    with pytest.raises(InputError, match="devices.mix: 'phone-fats' is not known; did you mean 'phone-fast'"):
        draw_devices(Config(devices={"mix": {"phone-fats": 1}}).devices, 4, 0)


def test_a_typo_in_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "toplogy"]) == 2
    assert "'toplogy' is no section; did you mean 'topology'? allowed: " in capsys.readouterr().err


def test_nothing_is_suggested_that_is_far() -> None:
    assert choices("grid", ["ring", "star"]) == "allowed: ring, star"
    assert choices("zzz", ["ring", "star"], " or a file") == "allowed: ring, star or a file"


def test_a_listing_has_what_is_imported_when_it_is_asked_for() -> None:
    assert set(ngpd_fl.__all__) <= set(dir(ngpd_fl)) and {"Config", "run", "__name__"} <= set(dir(ngpd_fl))
    assert all(getattr(ngpd_fl, name) for name in dir(ngpd_fl) if name in ngpd_fl.__all__)
