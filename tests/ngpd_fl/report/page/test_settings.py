"""Commands give the configuration that they were made from."""

from __future__ import annotations

import shlex
from typing import Any

import networkx as nx
import pytest

from ngpd_fl.config import Config, parse_assignments
from ngpd_fl.report.page.settings import flat, run_command, shared, without

CONFIGS: list[dict[str, Any]] = [
    {},
    {"seed": 7, "strategy": {"name": "dsgd", "lr": 0.1}},
    {"topology": {"name": "torus", "nodes": 12, "rows": 3}, "partition": {"name": "dirichlet", "alpha": 0.1}},
    {"topology": {"name": "ring", "nodes": 6, "schedule": {"name": "matching"}}},
    {
        "model": {"name": "mlp", "hidden": [32, 16]},
        "training": {"mode": "neighbor-synchronous", "timeout_seconds": 2.0},
    },
    {"devices": {"mix": {"raspberry-pi-5": 2, "jetson-orin-nano": 1}}},
    {"topology": nx.path_graph(4), "faults": {"leave": []}},
    {"data": {"data_dir": "my data; rm -rf"}},
]


def test_no_command_repeats_a_run_of_objects() -> None:
    assert run_command(Config(model={"name": "object:Net"})) is None


@pytest.mark.parametrize("values", CONFIGS)
def test_the_command_is_the_configuration(values: dict[str, Any]) -> None:
    config = Config(**values)
    command = run_command(config)
    assert command is not None
    words = shlex.split(command)
    assert words[:2] == ["ngpd-fl", "run"] and set(words[2::2]) <= {"--set"}
    assert Config.load(None, parse_assignments(words[3::2])) == config


def test_defaults_are_not_spelled_out() -> None:
    assert run_command(Config(seed=3)) == "ngpd-fl run --set seed=3"
    assert run_command(Config(), event_log=True) == "ngpd-fl run --event-log"


def test_a_command_that_is_too_long_is_none() -> None:
    assert run_command(Config(topology=nx.path_graph(400))) is None


def test_shared_keys_and_the_others() -> None:
    one, other = flat(Config(strategy="dsgd")), flat(Config(strategy="dsgd", training={"rounds": 9}))
    assert without(one, shared([one, other])) == {"training.rounds": Config().training.rounds}
    assert shared([one, {"seed": 1}]) == {}
