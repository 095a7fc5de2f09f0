"""The files of Docker Compose: valid, and their commands do their work, here outside of containers.

No engine runs in these tests: what containers, volumes and their network would change is not tested.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ngpd_fl.cli.app import app
from ngpd_fl.records import RunFolder
from tests.support.deployment import OWN, ROOT, Service
from tests.support.ports import free_port

FOLDER = ROOT / "deploy" / "compose"
PEERS, FLOWER = FOLDER / "peers.yaml", FOLDER / "flower.yaml"
PLACE = "/deployment"


def services(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["services"]
    return found


def words(service: dict[str, Any]) -> list[str]:
    """What a service calls, without the name of the program."""
    return [*service["entrypoint"], *shlex.split(service["command"])][1:]


@pytest.mark.parametrize("file", [PEERS, FLOWER], ids=lambda file: file.stem)
def test_they_follow_the_specification(file: Path, tmp_path: Path) -> None:
    def check(path: Path) -> int:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
        return subprocess.run(command, capture_output=True, cwd=tmp_path).returncode

    assert check(file) == 0
    (tmp_path / "wrong.yaml").write_text(file.read_text().replace("subpath:", "path:"))
    assert check(tmp_path / "wrong.yaml") == 1


@pytest.mark.parametrize("file", [PEERS, FLOWER], ids=lambda file: file.stem)
def test_their_commands_folders_and_files_are_known(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    image = ROOT / "deploy" / "Dockerfile"
    assert f"WORKDIR {PLACE}\n" in image.read_text()
    targets = {config["target"] for config in content.get("x-image", {}).get("configs", ())}
    assert {Path(target).name for target in targets} == {one["file"] for one in content.get("configs", {}).values()}
    for name, service in content["services"].items():
        assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(image)
        command: Any = typer.main.get_command(app)
        given = words(service)
        while hasattr(command, "commands"):
            command = command.commands[given.pop(0)]
        command.make_context(name, [*given])
        assert {word for word in given if word.startswith("/")} <= targets
        (volume,) = service["volumes"]
        if "volume" in volume:  # a service sees its own folder, and its command names no other
            own = volume["volume"]["subpath"]
            assert volume["target"] == f"{PLACE}/{own}"
            assert {word.split("/")[0] for word in given if word.startswith(("node", "superlink/"))} <= {own}
            assert own in given
        else:
            assert volume["target"] == PLACE


@contextmanager
def started(folder: Path, file: Path, names: dict[str, str]) -> Iterator[dict[str, Service]]:
    """Run the keys' command, then start all services in one folder, with other words for some of their words."""
    own = services(file)

    def changed(name: str) -> list[str]:
        text = shlex.join(words(own[name]))
        for old, new in names.items():
            text = text.replace(old, new)
        return shlex.split(text)

    call(folder, *changed("keys"))
    with ExitStack() as stack:
        running = {}
        for name in own:
            if name not in ("keys", "gather"):
                running[name] = Service(folder / f"{name}.log", *changed(name), program=())
                stack.callback(lambda service=running[name]: service.process.poll() is None and service.stop())
        yield running


def call(folder: Path, *given: str) -> None:
    command = [sys.executable, "-m", "ngpd_fl", *given]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **OWN}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_peers_train_and_are_gathered(tmp_path: Path) -> None:
    names = {"/etc/ngpd-fl/": f"{tmp_path}/"} | {
        f"peer{number}:7447": f"127.0.0.1:{free_port()}" for number in range(3)
    }
    (tmp_path / "run.toml").write_text((FOLDER / "run.toml").read_text())
    addresses = (FOLDER / "peers.toml").read_text()
    for old, new in names.items():
        addresses = addresses.replace(old, new)
    (tmp_path / "peers.toml").write_text(addresses)
    with started(tmp_path, PEERS, names) as running:
        assert [service.process.wait(300) for service in running.values()] == [0, 0, 0]
    call(tmp_path, *words(services(PEERS)["gather"]))
    summary = RunFolder.open(tmp_path / "run").summary()
    assert summary["status"] == "finished" and summary["final"]["mean_accuracy"] > 0.8


@pytest.mark.deploy
def test_the_supernodes_train(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    port = address.partition(":")[2]
    serve = "deploy superlink superlink"
    names = {"--host superlink": "--host 127.0.0.1", serve: f"{serve} --port {port}", "superlink:9092": address}
    with started(tmp_path, FLOWER, names) as running:
        running["superlink"].wait_for("superlink takes 3 nodes")
        for number in range(3):
            running[f"node{number}"].wait_for("SuperNode ID")
        train = "deploy run superlink --topology ring --nodes 3 --rounds 2 --out superlink/lab --port"
        call(tmp_path, *train.split(), port)
        assert [service.stop() for service in reversed(running.values())] == [0, 0, 0, 0]
    assert RunFolder.open(tmp_path / "superlink" / "lab").summary()["status"] == "finished"
