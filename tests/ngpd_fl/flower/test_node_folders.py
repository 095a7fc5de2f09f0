"""Clients that have their own nodes' data and no other: one trajectory, one record, and loud where they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ngpd_fl import Config, InputError, RunFolder, run, run_flower
from ngpd_fl.flower.launcher.app_bundle import write_app
from ngpd_fl.flower.server.clients import Unfit
from ngpd_fl.training import compose
from tests.support.flower import FakeRun
from tests.support.node_folders import describe, examples, make_nodes, only, write

IN_ONE_PLACE = {"averaged_model_accuracy", "averaged_model_class_accuracy", "consensus_distance"}


def config(root: Path, nodes: int = 4, **sections: Any) -> Config:
    values: dict[str, Any] = {
        "data": {"dataset": "node-folders", "data_dir": root, "image_size": 4},
        "topology": {"nodes": nodes},
        "strategy": {"name": "ngpd", "factor_every": 2, "basis_every": 3},
        "training": {"rounds": 3, "local_steps": 2},
        "model": {"name": "mlp", "hidden": (8,)},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**values | sections)


def devices(root: Path, where: Path, per_client: int = 1, nodes: int = 4) -> Callable[[int], dict[str, str]]:
    """Give each client a folder that holds its own nodes' data only; return the clients' node-configs."""
    for client in range(-(-nodes // per_client)):
        only(root, range(client * per_client, min((client + 1) * per_client, nodes)), where / f"client{client}")
    return lambda client: {"data-dir": str(where / f"client{client}")}


@pytest.mark.parametrize("per_client", [1, 3])
@pytest.mark.parametrize("evaluated_on", ["own", "common"])
def test_clients_with_their_own_data_only_follow_the_engine(evaluated_on: str, per_client: int, tmp_path: Path) -> None:
    root = make_nodes(tmp_path / "all")
    if evaluated_on == "common":
        write(root / "test.npz", *examples(40, 99))
    expected = run(config(root))
    node_config = devices(root, tmp_path / "at", per_client)
    fake = FakeRun(config(Path("nowhere")), node_config=node_config, nodes_per_client=per_client).go()
    assert fake.events() == []
    torch.testing.assert_close(fake.params(expected.model), expected.params, rtol=0, atol=1e-12)
    for ours, theirs in zip(fake.recorder.metrics, expected.metrics, strict=True):
        there = theirs.model_dump() | dict.fromkeys(IN_ONE_PLACE)
        for key, value in ours.model_dump(exclude={"train_seconds"}).items():
            assert value == (there[key] if there[key] is None else pytest.approx(there[key], rel=1e-12)), key
    assert fake.recorder.summary()["evaluated_on"] == expected.summary["evaluated_on"] == evaluated_on
    counts = fake.clients.label_counts()
    np.testing.assert_array_equal(counts.sum(1), [18, 19, 20, 21])  # a tenth is held out


def test_classes_that_only_some_clients_judge_are_the_mean_over_these(tmp_path: Path) -> None:
    """Client 1 has no test image of class 2, and none is made up."""
    root = make_nodes(tmp_path / "all")
    fake = FakeRun(config(root), node_config=devices(root, tmp_path / "at")).go()
    model = compose(config(root)).model
    shares = []
    for node in (0, 2, 3):
        inputs, labels = examples(8 + node, 100 + node)
        light = torch.tensor(inputs[labels == 2] / 255).float().double()
        shares.append(float((model(fake.params(model)[node], light).argmax(1) == 2).double().mean()))
    last = fake.recorder.metrics[-1].model_dump()
    assert last["class_accuracy"][2] == pytest.approx(np.mean(shares)) and last["own_accuracy"][1] > 0


def other_classes(at: Path) -> None:
    (at / "dataset.toml").unlink()
    describe(at, 'classes = ["dark", "light", "grey"]\n')


def other_shape(at: Path) -> None:
    for name in ("train", "test"):
        inputs, labels = examples(20, 0)
        (at / "node2").unlink() if (at / "node2").is_symlink() else None
        write(at / "node2" / f"{name}.npz", inputs[:, :, :3], labels)


MISFITS: list[tuple[Callable[[Path], object], str]] = [
    (other_classes, "clients 0 and 2 do not have data that fit: they differ in dataset.toml"),
    (other_shape, "clients 0 and 2 do not have data that fit: they differ in inputs (1x4x4 and 1x3x4)"),
    (lambda at: write(at / "test.npz", *examples(40, 99)), "they differ in evaluated-on (own and common)"),
]


@pytest.mark.parametrize(("spoil", "said"), MISFITS, ids=["classes", "shape", "test"])
def test_clients_whose_data_do_not_fit_are_refused(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    root = make_nodes(tmp_path / "all")
    node_config = devices(root, tmp_path / "at")
    spoil(tmp_path / "at" / "client2")
    with pytest.raises(Unfit, match=re.escape(said)):
        FakeRun(config(root), node_config=node_config)


def test_a_client_without_its_nodes_folder_says_which_is_missing(tmp_path: Path) -> None:
    root = make_nodes(tmp_path / "all")
    node_config = devices(root, tmp_path / "at")
    (tmp_path / "at" / "client2" / "node2").unlink()
    with pytest.raises(
        InputError, match="^data.data_dir: .*/client2 holds no folder node2; 4 nodes have node0 to node3$"
    ):
        FakeRun(config(root), node_config=node_config)


APP = """
from flwr.clientapp import ClientApp
from ngpd_fl.flower.client.app import evaluate, query, train

def at_home(message, context, call):
    context.node_config["data-dir"] = f"{HOME}/client{context.node_config['partition-id']}"
    return call(message, context)

app = ClientApp()
app.query(mods=[at_home])(query)
app.train(mods=[at_home])(train)
app.evaluate(mods=[at_home])(evaluate)
"""


@pytest.mark.slow
def test_flwr_run_with_each_clients_data_in_a_place_of_its_own(tmp_path: Path) -> None:
    root = make_nodes(tmp_path / "all")
    devices(root, tmp_path / "at", per_client=2)
    app = write_app(tmp_path / "app")
    (app / "home.py").write_text(f"HOME = {str(tmp_path / 'at')!r}\n{APP}")
    project = app / "pyproject.toml"
    project.write_text(project.read_text().replace("ngpd_fl.flower.client.app:app", "home:app"))
    found = run_flower(config(root), tmp_path / "out", app=app, nodes_per_client=2)
    expected = run(config(root))
    torch.testing.assert_close(found.params, expected.params, rtol=0, atol=1e-9)
    assert found.summary["final"] == {k: pytest.approx(v, rel=1e-9) for k, v in expected.summary["final"].items()}
    folder = RunFolder.open(tmp_path / "out")
    assert folder.summary()["evaluated_on"] == "own" and folder.label_counts() is not None
