"""The sets that torchvision reads, beside MNIST, from tiny files in the sets' own formats."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from numpy.typing import NDArray

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import Dataset, load_dataset
from ngpd_fl.data.vision_sets import VISION_SETS
from tests.ngpd_fl.data.conftest import write_idx

TRAIN, TEST = 12, 6
SETS = ["fashion-mnist", "cifar10", "cifar100", "svhn"]


def images(name: str, size: int) -> NDArray[np.uint8]:
    """Images ``[size, C, H, W]``, all different."""
    shape = (1, 28, 28) if name == "fashion-mnist" else (3, 32, 32)
    return np.random.default_rng(size).integers(0, 256, (size, *shape), dtype=np.uint8)


def labels(name: str, size: int) -> NDArray[np.uint8]:
    return (np.arange(size, dtype=np.uint8) * 7) % (100 if name == "cifar100" else 10)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_fashion(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, size in (("train", TRAIN), ("t10k", TEST)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images("fashion-mnist", size)[:, 0])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels("fashion-mnist", size))
    return raw / "t10k-images-idx3-ubyte"


def write_cifar(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    reader = getattr(torchvision.datasets, VISION_SETS[name].class_name)
    folder = root / reader.base_folder
    folder.mkdir()
    key = "labels" if name == "cifar10" else "fine_labels"
    for kind, size in (("train_list", TRAIN), ("test_list", TEST)):
        files = [entry[0] for entry in getattr(reader, kind)]
        rows = np.array_split(np.arange(size), len(files))
        for file, of_file in zip(files, rows, strict=True):
            batch = {"data": images(name, size)[of_file].reshape(len(of_file), -1)}
            (folder / file).write_bytes(pickle.dumps({**batch, key: labels(name, size)[of_file].tolist()}))
        monkeypatch.setattr(reader, kind, [[file, md5(folder / file)] for file in files])
    meta = folder / reader.meta["filename"]
    meta.write_bytes(pickle.dumps({reader.meta["key"]: [f"class {index}" for index in range(10)]}))
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5(meta)})
    return folder / files[-1]


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    splits = {}
    for split, size in (("train", TRAIN), ("test", TEST)):
        path = root / f"{split}_32x32.mat"
        digits = labels("svhn", size)
        written = np.where(digits == 0, 10, digits)[:, None]  # as the set has it
        scipy.io.savemat(path, {"X": images("svhn", size).transpose(2, 3, 1, 0), "y": written})
        splits[split] = [*torchvision.datasets.SVHN.split_list[split][:2], md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", splits)
    return path


@pytest.fixture
def make_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a set into ``tmp_path``; return one of its test split's files."""

    def make(name: str) -> Path:
        if name == "fashion-mnist":
            return write_fashion(tmp_path, monkeypatch)
        return write_svhn(tmp_path, monkeypatch) if name == "svhn" else write_cifar(name, tmp_path, monkeypatch)

    return make


def load(name: str, root: Path, *, download: bool = False) -> Dataset:
    return load_dataset(DataConfig(dataset=name, data_dir=root, validation_fraction=0, download=download), seed=0)


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_images_labels_and_normalization(
    name: str, download: bool, tmp_path: Path, make_set: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("what is there is not downloaded again")

    make_set(name)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    data = load(name, tmp_path, download=download)
    known = VISION_SETS[name]
    assert data.task.num_outputs == known.num_classes == (100 if name == "cifar100" else 10)
    mean, std = (np.array(values)[:, None, None] for values in (known.mean, known.std))
    for split, size in ((data.train, TRAIN), (data.test, TEST)):
        expected = (images(name, size) / 255 - mean) / std
        assert split.inputs.dtype == torch.float32 and split.labels.dtype == torch.int64
        np.testing.assert_allclose(split.inputs.numpy(), expected, rtol=1e-5, atol=1e-5)
        assert split.labels.tolist() == labels(name, size).tolist()


@pytest.mark.parametrize("name", SETS)
def test_missing_files_are_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^data.data_dir: {name} needs the folder that holds it .--data-dir.$"):
        load_dataset(DataConfig(dataset=name), seed=0)
    with pytest.raises(InputError) as caught:
        load(name, tmp_path / "nowhere")
    files = tmp_path / "nowhere" / VISION_SETS[name].folder
    expected = f"data.data_dir: {name} is not in {files}; give its folder with --data-dir or set data.download=true"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", SETS)
def test_damaged_files_are_named(name: str, tmp_path: Path, make_set: Callable[[str], Path]) -> None:
    damaged = make_set(name)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged|cannot be read") as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path / VISION_SETS[name].folder) in message and "\n" not in message
    assert "data.download=true" in message


@pytest.mark.parametrize("name", SETS)
def test_failed_download_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known\nsecond line")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError, match=f"^data.data_dir: {name} cannot be downloaded") as caught:
        load(name, tmp_path, download=True)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
