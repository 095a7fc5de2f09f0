"""Parts of another package, registered by entry points, in a process of its own as a user has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

MODULE = """
from typing import Literal

import networkx as nx
import torch
from strategies.contract import Spec
from strategies.dsgd import DSGD, DSGDOptions
from topologies import TopologyOptions


class OurOptions(DSGDOptions):
    name: Literal["our-sgd"] = "our-sgd"


OUR_SGD = (OurOptions, DSGD)


class WheelOptions(TopologyOptions):
    name: Literal["wheel"] = "wheel"

    def graph(self, seed):
        return nx.wheel_graph(self.nodes)


def blobs():
    labels = torch.arange(200) % 4
    inputs = torch.nn.functional.one_hot(labels, 6).float() + 0.1 * torch.randn(200, 6)
    return inputs[:160], labels[:160], inputs[160:], labels[160:]


def linear(input_shape, num_classes):
    return torch.nn.Linear(input_shape[0], num_classes)
"""

ENTRY_POINTS = """
[ngpd_fl.strategies]
our-sgd = our_parts:OUR_SGD
no-pair = our_parts:DSGD
gone = our_parts:nothing
ngpd = our_parts:OUR_SGD

[ngpd_fl.topologies]
wheel = our_parts:WheelOptions

[ngpd_fl.datasets]
blobs = our_parts:blobs

[ngpd_fl.models]
linear = our_parts:linear
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder on the path that holds an installed package: its module and its metadata."""
    (tmp_path / "our_parts.py").write_text(MODULE, encoding="utf-8")
    metadata = tmp_path / "our_parts-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: our-parts\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    return tmp_path


def python(package: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{package}"}
    words = [sys.executable, "-P", "-c", program]
    return subprocess.run(words, cwd=package, env=environment, capture_output=True, text=True, timeout=300)


RUN = """
import sys
from ngpd_fl.config import Config, InputError, all_keys
from ngpd_fl.cli import main

Config()
assert "our_parts" not in sys.modules  # what is ours is found first
assert Config(strategy="ngpd").strategy.second_order  # and is not replaced
flags = "--strategy our-sgd --topology wheel --nodes 5 --dataset blobs --model linear --rounds 3 --out run --quiet"
assert main(["run", *flags.split()]) == 0
assert main(["show", "run"]) == 0
for name in ("no-pair", "gone", "our-sgdd"):
    assert main(["run", "--strategy", name]) == 2
assert main(["run", "--dataset", "blob"]) == 2 == main(["run", "--model", "linea"])
assert main(["keys", "strategy"]) == main(["keys", "topology"]) == 0
assert "strategy.nesterov" in all_keys()
"""


def test_parts_of_another_package_are_used_by_their_names(package: Path) -> None:
    done = python(package, RUN)
    assert done.returncode == 0, done.stderr
    assert "our-sgd: wheel graph of 5 nodes; blobs" in done.stdout
    assert "strategy.name = our-sgd" in done.stdout and "topology.name = wheel" in done.stdout
    pair, gone, typo, data, model, *warnings = done.stderr.splitlines()
    assert pair == (
        "ngpd-fl: error: strategy.name: 'no-pair' is our_parts:DSGD, which should be a pair: a class of "
        "StrategyOptions, and the class of the algorithm"
    )
    assert gone.startswith(
        "ngpd-fl: error: strategy.name: 'gone', which our-parts registers: 'our_parts:nothing' cannot"
    )
    assert "'our-sgdd' is not known; did you mean 'our-sgd'?" in typo
    assert "did you mean 'blobs'?" in data and "did you mean 'linear'?" in model
    assert len(warnings) == 2 * 3  # both broken ones, each time that everything is listed


def test_names_are_completed(package: Path) -> None:
    program = """
from ngpd_fl.cli.completion import names_of, strategy_names
from ngpd_fl.config.sections import DataConfig, ModelConfig
import sys
names = strategy_names(), names_of("topology.name", None), names_of("data.dataset", None), names_of("model.name", None)
assert all(len(set(part)) == len(list(part)) for part in names)
print(*(list(part)[-1] for part in names), "our_parts" in sys.modules, "torch" in sys.modules)
"""
    assert python(package, program).stdout.split() == ["gone", "wheel", "blobs", "linear", "False", "False"]
