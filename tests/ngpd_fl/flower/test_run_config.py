"""The configuration on its way through Flower: every key is there, values come back, errors are one line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.config_utils import load_and_validate
from flwr.common.config import flatten_dict, fuse_dicts, parse_config_args

from ngpd_fl import Config, InputError
from ngpd_fl.cli import main
from ngpd_fl.flower.launcher.app_bundle import COMPONENTS, write_app
from ngpd_fl.flower.launcher.run import run_flower
from ngpd_fl.flower.run_config import FlowerConfig, check_for_flower, every_key, read, write

ROOT = Path(__file__).parents[3]


def test_the_app_has_every_key_unset_and_no_other() -> None:
    app = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert flatten_dict(app["config"]) == dict.fromkeys(every_key(), "")
    assert app["components"] == COMPONENTS


def test_every_key_that_is_listed_for_users_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    listed = set(re.findall(r"^([a-z_]+(?:\.[a-z_]+)?) {2,}", capsys.readouterr().out, flags=re.MULTILINE))
    assert len(listed) > 50 and listed <= set(every_key())


FAILING = {"name": "failing", "probability": 0.2}
PATH = {"name": "edges", "nodes": 3, "edges": ((0, 1), (1, 2))}
CONFIGS: list[dict[str, Any]] = [
    {},
    {"strategy": {"name": "dsgd", "lr": 0.2}, "seed": 7, "data": {"flip": True, "noise": 0.25}},
    {"model": {"hidden": (64, 32), "init": Path("start.safetensors")}, "engine": {"dtype": "float64", "chunk_size": 3}},
    {
        "topology": {
            "name": "circulant",
            "nodes": 9,
            "offsets": (1, 3),
            "schedule": {"name": "failing", "probability": 0.2},
        }
    },
    {
        "topology": {"name": "edges", "nodes": 3, "edges": ((0, 1), (1, 2))},
        "partition": {"name": "dirichlet", "alpha": 2},
    },
    {"devices": {"mix": {"jetson-nano": 2, 'a "board"': 0.5}, "slow": {3: 10}, "step_sigma": 0.25}},
    {"devices": {"classes": ("phone-fast", "phone-slow"), "table": Path("/mine.csv"), "relative_cost": 2.5}},
    {"strategy": {"name": "ngpd", "edge_penalty": 0.5}, "topology": {"name": "star", "schedule": "matching"}},
]


@pytest.mark.parametrize("values", CONFIGS)
def test_a_configuration_comes_back_through_flower(values: dict[str, Any], tmp_path: Path) -> None:
    """As Flower does it: a TOML file or ``key=value`` words over the app's own table, unknown keys refused."""
    config = Config(**values)
    flower = FlowerConfig(nodes_per_client=3, out=tmp_path / "out")
    given = write(config, flower)
    fused: Any = fuse_dicts(dict.fromkeys(every_key(), ""), given)
    read_back, read_flower = read(fused)
    expected = config.model_dump() if config.model.init is None else None
    assert read_flower == flower
    if expected is not None:
        assert read_back.model_dump() == expected
    else:
        assert read_back.model.init == Path.cwd() / "start.safetensors"
        assert read_back.model.hidden == (64, 32)


def test_words_on_flowers_command_line() -> None:
    words = "strategy.name='dsgd' strategy.lr=0.3 model.hidden='64,32' topology.offsets='[1, 2]' data.flip=true"
    given: Any = parse_config_args([f"{words} topology.name='circulant' nodes-per-client=4"])
    config, flower = read(fuse_dicts(dict.fromkeys(every_key(), ""), given))
    assert (config.strategy.name, config.strategy.lr, config.model.hidden) == ("dsgd", 0.3, (64, 32))
    assert (config.topology.name, config.data.flip, flower.nodes_per_client) == ("circulant", True, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"training.rounds": 0}, "training.rounds: input should be greater than or equal to 1 (got 0)"),
        (
            {"strategy.name": "sgd"},
            "strategy.name: 'sgd' is not known; did you mean 'dsgd'? allowed: ngpd, ngpd-tracking, ecl, dsgd",
        ),
        ({"nodes-per-client": 0}, "nodes-per-client: input should be greater than or equal to 1 (got 0)"),
        ({"round-timeout": "soon"}, "round-timeout: input should be a valid number"),
    ],
)
def test_a_wrong_value_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        read(dict.fromkeys(every_key(), "") | given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("nodes", "per_client", "hosted"), [(8, 1, [1] * 8), (8, 4, [4, 4]), (7, 3, [3, 3, 1]), (2, 9, [2])]
)
def test_clients_share_the_nodes(nodes: int, per_client: int, hosted: list[int]) -> None:
    flower = FlowerConfig(nodes_per_client=per_client)
    blocks = [flower.hosted(client, nodes) for client in range(flower.num_clients(nodes))]
    assert [len(block) for block in blocks] == hosted
    assert [node for block in blocks for node in block] == list(range(nodes))


def test_flower_takes_both_apps_without_a_complaint(tmp_path: Path) -> None:
    for folder in (ROOT, write_app(tmp_path / "app")):
        _, warnings = load_and_validate(folder / "pyproject.toml")
        assert warnings == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"training": {"mode": "neighbor-synchronous"}},
            r"training\.mode: through Flower only synchronous is possible \(got neighbor-synchronous\)",
        ),
        ({"devices": {"slow": {0: 2.0}}}, "^devices: through Flower there is no virtual clock"),
        ({"faults": {"leave": [{"node": 1}]}}, "^faults: through Flower there is no virtual clock"),
        (
            {"strategy": "dsgd", "training": {"baseline": "fedavg"}},
            "^training.baseline: through Flower nodes exchange",
        ),
        ({"faults": {"burst_begin": 0.1}}, "^faults: through Flower there is no virtual clock"),
    ],
)
def test_what_only_a_simulation_can_do_does_not_go_through_flower(sections: dict[str, Any], message: str) -> None:
    check_for_flower(Config())
    for refuse in (check_for_flower, run_flower):  # before anything is started
        with pytest.raises(InputError, match=message):
            refuse(Config(**sections))


def test_the_command_refuses_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flower", "run", "--set", "training.mode=asynchronous", "--out", "out"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "training.mode: through Flower only synchronous" in said[-1]
    assert not any(tmp_path.rglob("*.*"))
