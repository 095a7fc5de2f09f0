"""Tiny data sets on disk, in the layouts that the readers expect."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

MakeMNIST = Callable[..., Path]
MakeFolder = Callable[..., Path]


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


@pytest.fixture
def make_mnist(tmp_path: Path) -> MakeMNIST:
    """Write MNIST's four files with few images; returns data_dir."""

    def make(num_train: int = 40, num_test: int = 20) -> Path:
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for prefix, size in (("train", num_train), ("t10k", num_test)):
            pixels = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
            pixels[:, 0, 0] = np.arange(size)  # tells the images apart
            write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels)
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(size, dtype=np.uint8) % 10)
        return tmp_path

    return make


@pytest.fixture
def make_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFolder:
    """Write an image folder of two classes, uniformly red cats and blue dogs; returns data_dir."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))

    def make(per_class: int = 4, size: int = 8) -> Path:
        root = tmp_path / "images"
        for split in ("train", "test"):
            for name, color in (("cat", (200, 0, 0)), ("dog", (0, 0, 100))):
                folder = root / split / name
                folder.mkdir(parents=True)
                for index in range(per_class):
                    Image.new("RGB", (size, size), color).save(folder / f"{index}.bmp")  # all of one length
        return root

    return make
