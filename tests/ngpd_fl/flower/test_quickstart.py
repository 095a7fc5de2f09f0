"""The example for users of Flower: an app with FedAvg, and the one file that makes its clients nodes of a ring."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ngpd_fl.flower.launcher.superlink import SuperLink

ROOT = Path(__file__).parents[3]
APP = ROOT / "examples" / "flower_quickstart"
NEW = APP / "quickstart" / "decentralized.py"
PAGE = ROOT / "docs" / "how-to" / "flower-app.md"
CLIENTS, ROUNDS = 4, 2

PARTS = """
import json, runpy, sys
from quickstart.task import load_data
sys.argv = ["decentralized", "4"]
run = runpy.run_module("quickstart.decentralized", run_name="__main__")
images = [[run["train"][index] for index in part] for part in run["parts"]]
of_clients = [load_data(client, 4, 32)[0].dataset for client in range(4)]
sums = [[[(float(x["image"].sum()), x["label"]) for x in part] for part in parts] for parts in (images, of_clients)]
layers = sorted({type(layer).__name__ for layer in run["result"].model.module.modules()})
print(json.dumps({"sums": sums, "layers": layers, "bytes": run["result"].metrics[-1].bytes_sent}))
"""
"""Runs the new file, then prints what nodes and clients have, and the layers of the network."""


def write_images(folder: Path) -> None:
    """Write digits as folders of images of 32 x 32 pixels."""
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images[:260], digits.target[:260], strict=True)):
        path = folder / ("train" if index < 200 else "test") / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(15 * pixels, np.ones((4, 4))).astype(np.uint8)).convert("RGB").save(path)


def last_line(output: str, name: str) -> tuple[float, float]:
    """Return accuracy and megabytes of the line that a program ends with."""
    (line,) = re.findall(rf"^{name}: accuracy (\S+), (\S+) MB$", output, re.MULTILINE)
    return float(line[0]), float(line[1])


def test_the_app_stays_as_it_is_and_the_new_file_has_under_20_lines() -> None:
    original = [path for path in APP.rglob("*.py") if path != NEW]
    assert {path.name for path in original} == {"__init__.py", "client_app.py", "server_app.py", "task.py"}
    assert not any("ngpd_fl" in path.read_text(encoding="utf-8") for path in original)
    assert 0 < sum(bool(line.strip()) for line in NEW.read_text(encoding="utf-8").splitlines()) < 20


def test_the_page_shows_the_new_file() -> None:
    assert f"```text\n{NEW.read_text(encoding='utf-8')}```\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_both_run_on_the_same_images_of_the_same_clients(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    app = Path(shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__")))
    settings, count = re.subn(
        r"(?m)^num-server-rounds = \d+$", f"num-server-rounds = {ROUNDS}", (app / "pyproject.toml").read_text()
    )
    assert count == 1
    (app / "pyproject.toml").write_text(settings)
    own = {"CIFAR10_DIR": str(tmp_path / "images"), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}

    with SuperLink(own) as superlink:
        clients = f"num-supernodes={CLIENTS} client-resources-num-cpus=1"
        run_id = int(superlink.ask("run", str(app), "own", "--federation-config", clients)["run-id"])
        log = "\n".join(superlink.log_of(run_id))
    fedavg, fedavg_megabytes = last_line(log, "FedAvg")

    environment = os.environ | own | {"PYTHONPATH": f"{app}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", PARTS], cwd=app, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ngpd, ngpd_megabytes = last_line(done.stdout, "NGPD")
    found = json.loads(done.stdout.splitlines()[-1])

    assert 0 <= fedavg <= 1 and 0 <= ngpd <= 1
    nodes, of_clients = found["sums"]
    assert nodes == of_clients and len(nodes) == CLIENTS and min(map(len, nodes)) > 0
    assert "GroupNorm" in found["layers"] and "BatchNorm2d" not in found["layers"]
    # Each client has two neighbors, so it sends twice what it sends to a server, and receives nothing from one.
    assert ngpd_megabytes == pytest.approx(found["bytes"] / 1e6, abs=0.5)
    assert fedavg_megabytes == pytest.approx(ngpd_megabytes, rel=0.01)  # BatchNorm has statistics beside its parameters
