from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import load_dataset, vision


def test_pixels_are_normalized_by_the_usual_mean_and_std(make_mnist: Any) -> None:
    data = load_dataset(DataConfig(dataset="mnist", data_dir=make_mnist(), validation_fraction=0), seed=0)
    assert data.train.inputs.shape == (40, 1, 28, 28) and len(data.test) == 20 and data.task.num_outputs == 10
    assert data.train.labels.tolist() == [i % 10 for i in range(40)]
    expected = (torch.arange(40) / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(data.train.inputs[:, 0, 0, 0], expected)


def test_images_keep_their_labels_through_the_validation_split(make_mnist: Any) -> None:
    data = load_dataset(DataConfig(dataset="mnist", data_dir=make_mnist(), validation_fraction=0.25), seed=0)
    numbers = []
    for split in (data.train, data.validation):
        number = ((split.inputs[:, 0, 0, 0] * 0.3081 + 0.1307) * 255).round().long()  # the mark of conftest.py
        assert torch.equal(number % 10, split.labels)
        numbers += number.tolist()
    assert len(data.validation) == 10 and sorted(numbers) == list(range(40))


def test_without_data_dir() -> None:
    with pytest.raises(InputError, match=r"^data.data_dir: mnist needs the folder that holds it .--data-dir.$"):
        load_dataset(DataConfig(dataset="mnist"), seed=0)


def test_missing_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(DataConfig(dataset="mnist", data_dir=tmp_path / "nowhere"), seed=0)
    message = str(caught.value)
    assert str(tmp_path / "nowhere" / "MNIST" / "raw") in message and "\n" not in message
    assert "--data-dir" in message and "data.download=true" in message


def test_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known\nsecond line")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError, match="cannot be downloaded") as caught:
        load_dataset(DataConfig(dataset="mnist", data_dir=tmp_path, download=True), seed=0)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_damaged_files_are_named(make_mnist: Any) -> None:
    root = make_mnist()
    images = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cannot be read from .*raw \(.*delete the files"):
        load_dataset(DataConfig(dataset="mnist", data_dir=root), seed=0)


def test_broken_torchvision_is_explained(make_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(vision, "import_module", fail)
    with pytest.raises(InputError) as caught:
        load_dataset(DataConfig(dataset="mnist", data_dir=make_mnist()), seed=0)
    message = str(caught.value)
    assert "operator torchvision::nms does not exist" in message and "\n" not in message
    assert f"torch {vision.metadata.version('torch')}" in message
    assert f"torchvision {vision.metadata.version('torchvision')}" in message
    assert "digits" in message


def test_missing_torchvision_is_explained(make_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_installed(package: str) -> str:
        raise vision.metadata.PackageNotFoundError(package)

    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(vision, "import_module", fail)
    monkeypatch.setattr(vision.metadata, "version", none_installed)
    with pytest.raises(InputError, match=r"No module named .*torchvision \(none\)"):
        load_dataset(DataConfig(dataset="mnist", data_dir=make_mnist()), seed=0)
