"""``ngpd-fl doctor``: all well here, and each thing that can be wrong is named with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config.extras import installed_version
from ngpd_fl.data.vision_sets import VISION_SETS, missing_files
from ngpd_fl.profiling import doctor as diagnosis

Json = dict[str, Any]


def findings(cli: Callable[..., Any], *words: str, code: int = 0) -> dict[str, Json]:
    """The findings by name; of those with the same name the last."""
    said = cli("doctor", "--json", *words)
    assert said.code == code
    assert (said.err != "") == (code != 0)
    content = json.loads(said.out)
    assert content["well"] == (code == 0)
    return {finding["name"]: finding for finding in content["findings"]}


def test_all_is_well(cli: Callable[..., Any], here: Path) -> None:
    said = cli("doctor")
    assert (said.code, said.err) == (0, "")
    assert f"torch {version('torch')}" in " ".join(said.out.split())
    assert said.out.rstrip().endswith("All is well.")
    assert list(here.iterdir()) == []


def test_what_is_looked_at(cli: Callable[..., Any]) -> None:
    found = findings(cli)
    assert found["numpy"]["result"] == version("numpy")
    assert found["cpu"]["state"] == "ok" and "computes" in found["cpu"]["result"]
    assert found["digits"]["result"] == "1,442 + 355 images of 1x8x8, 10 classes"
    for name in ("ngpd", "dsgd"):
        assert found[name]["section"] == "training" and "2 rounds of 8 nodes" in found[name]["result"]


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the training."""
    monkeypatch.setattr(diagnosis, "_training", lambda: iter(()))


def test_a_package_that_is_too_old(cli: Callable[..., Any], quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        diagnosis, "installed_version", lambda name: "1.26.4" if name == "numpy" else installed_version(name)
    )
    finding = findings(cli, code=1)["numpy"]
    assert (finding["state"], finding["result"]) == ("wrong", "1.26.4, should be <3,>=2.1")
    assert finding["remedy"] == 'pip install "numpy<3,>=2.1"'
    assert 'numpy 1.26.4, should be <3,>=2.1: pip install "numpy<3,>=2.1"' in cli("doctor").out


def test_extras_that_are_not_installed(cli: Callable[..., Any], quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional, each with its command; what others bring is checked as ever."""
    needed = ["numpy>=2.1", 'optuna>=5; extra == "study"', 'numpy<1; extra == "test"', 'flwr>=99; extra == "flower"']
    monkeypatch.setattr(diagnosis, "requires", lambda name: needed)
    monkeypatch.setattr(
        diagnosis, "installed_version", lambda name: None if name == "optuna" else installed_version(name)
    )
    found = findings(cli, code=1)
    assert found["[study]"]["remedy"] == 'optional: pip install "ngpd-fl[study]"'
    assert found["[study]"]["state"] == "note" and "optuna" not in found
    assert (found["numpy"]["state"], found["flwr"]["state"], "[flower]" in found) == ("ok", "wrong", False)


def test_a_package_that_cannot_be_imported(
    cli: Callable[..., Any], quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing that needs it is tried."""

    def broken(name: str) -> None:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(diagnosis, "import_module", broken)
    monkeypatch.setattr(diagnosis, "_devices", None)
    finding = findings(cli, code=1)["torchvision"]
    assert "cannot be imported: operator torchvision::nms does not exist" in finding["result"]
    assert "must be built for each other" in finding["remedy"]


def test_a_folder_without_data_sets(cli: Callable[..., Any], quickly: None, here: Path) -> None:
    (here / "data").mkdir()
    finding = findings(cli, "--data-dir", "data")["others"]
    assert (finding["state"], finding["result"]) == ("note", f"{', '.join(VISION_SETS)}: not in data")


def test_a_data_set_with_a_file_missing(cli: Callable[..., Any], quickly: None, here: Path) -> None:
    raw = here / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (raw / name).write_bytes(b"")
    found = findings(cli, "--data-dir", "data", code=1)
    assert found["mnist"]["result"] == "incomplete in data/MNIST/raw: no t10k-labels-idx1-ubyte"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")
    found = findings(cli, "--data-dir", "data", code=1)
    assert (found["mnist"]["state"], found["mnist"]["result"]) == ("wrong", "cannot be read")


@pytest.mark.parametrize("name", VISION_SETS)
def test_files_of_data_sets(name: str, here: Path) -> None:
    counts = {"mnist": 4, "fashion-mnist": 4, "cifar10": 7, "cifar100": 3, "svhn": 2}
    missing, needed = missing_files(name, here)
    assert len(missing) == needed == counts[name]
    for file in missing:
        (here / VISION_SETS[name].folder).mkdir(parents=True, exist_ok=True)
        (here / VISION_SETS[name].folder / file).write_bytes(b"")
    assert missing_files(name, here) == ([], needed)


def test_a_folder_of_images(cli: Callable[..., Any], quickly: None, here: Path) -> None:
    """Its images are counted; they are not read."""
    for split, classes in (("train", "ab"), ("test", "a")):
        for name in classes:
            (here / split / name).mkdir(parents=True)
            (here / split / name / "1.png").write_bytes(b"no picture")
    assert "differ in their classes (b)" in findings(cli, "--data-dir", ".", code=1)["image-folder"]["remedy"]
    (here / "test" / "b").mkdir()
    (here / "test" / "b" / "1.png").write_bytes(b"no picture")
    assert findings(cli, "--data-dir", ".")["image-folder"]["result"] == "2 + 2 images, 2 classes"


def test_records_that_cannot_be_written(cli: Callable[..., Any], quickly: None, here: Path) -> None:
    (here / "runs").write_text("mine")
    finding = findings(cli, code=1)["runs/"]
    assert finding["result"] == "cannot be written (Not a directory)" and "--out" in finding["remedy"]
    assert (here / "runs").read_text() == "mine"


def test_a_run_that_fails(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("ngpd_fl.training.run.run", fail)
    found = findings(cli, code=1)
    assert (found["ngpd"]["result"], found["dsgd"]["result"]) == ("fails: boom", "fails: boom")


def test_no_such_folder(cli: Callable[..., Any]) -> None:
    said = cli("doctor", "--data-dir", "nowhere")
    assert (said.code, said.out, said.err) == (2, "", "ngpd-fl: error: --data-dir nowhere: is not a folder\n")
