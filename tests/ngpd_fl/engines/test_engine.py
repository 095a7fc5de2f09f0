"""What an algorithm cannot do is refused in one clear line before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config, InputError
from ngpd_fl.engines import check_topology
from ngpd_fl.training import compose
from strategies import DSGDOptions, Spec
from topologies import parse_topology


def need(monkeypatch: pytest.MonkeyPatch, **needs: bool) -> None:
    """Give a registered algorithm these needs."""
    monkeypatch.setattr(DSGDOptions, "spec", Spec(**needs))  # type: ignore[arg-type]


def refused(**sections: Any) -> str:
    with pytest.raises(InputError) as error:
        config = Config(strategy={"name": "dsgd"}, **sections)
        check_topology(config.strategy, config.topology.build(config.seed))
    assert "\n" not in str(error.value)
    return str(error.value)


def accepted(**sections: Any) -> None:
    config = Config(strategy={"name": "dsgd"}, **sections)
    check_topology(config.strategy, config.topology.build(config.seed))


def test_reliable(monkeypatch: pytest.MonkeyPatch) -> None:
    need(monkeypatch, reliable=True)
    message = refused(network={"message_loss": 0.1})
    assert message == "network.message_loss: dsgd needs every message to arrive; allowed: 0"
    accepted(network={"message_loss": 0})


def test_reliable_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need(monkeypatch, reliable=True)
    table = tmp_path / "devices.toml"
    table.write_text('[phone]\nstep_factor = 1\nonline_s = 5\noffline_s = 1\nsource = "assumed"\n')
    with pytest.raises(InputError, match="devices: dsgd needs every message; unset online_s of all devices"):
        compose(Config(strategy={"name": "dsgd"}, devices={"table": table, "mix": {"phone": 1.0}}))


def test_single_step(monkeypatch: pytest.MonkeyPatch) -> None:
    need(monkeypatch, single_step=True)
    message = refused(training={"local_steps": 2})
    assert message == "training.local_steps: dsgd exchanges after every step; allowed: 1"
    accepted(training={"local_steps": 1})


def test_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    need(monkeypatch, tree=True)
    assert refused(topology="ring").startswith("topology.name: dsgd needs a tree; allowed: path, star")
    several = ("path", "star", "tree", "random-tree", {"name": "barabasi-albert", "attachments": 1})
    for tree in (*several, {"name": "edges", "nodes": 4, "edges": [[0, 1], [1, 2], [1, 3]]}):
        accepted(topology=tree)
    accepted(topology={"name": "path", "schedule": "matching"})


def test_static(monkeypatch: pytest.MonkeyPatch) -> None:
    need(monkeypatch, static=True)
    for varying in (
        {"name": "ring", "schedule": "matching"},
        {"name": "ring", "schedule": "failing"},
        {"name": "sequence", "nodes": 3, "graphs": [[[0, 1]], [[1, 2]]]},
    ):
        assert refused(topology=varying).startswith("topology.schedule: dsgd needs a graph that does not vary")
    accepted(topology="ring")
    accepted(topology={"name": "sequence", "nodes": 3, "graphs": [[[0, 1], [1, 2]]]})


def test_nothing_is_refused_where_nothing_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    need(monkeypatch)
    accepted(
        topology={"name": "ring", "schedule": "matching"},
        network={"message_loss": 0.5},
        training={"local_steps": 5},
    )
    check_topology(DSGDOptions(), parse_topology("ring").build(0))
