"""Data that lie at their nodes, as a person would put them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (1, 4, 4)


def examples(size: int, seed: int, classes: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images whose brightness tells their class, not without fail; every class is there if ``size`` allows it."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(size) % classes)
    pixels = 60 * labels[:, None, None, None] + rng.integers(0, 120, (size, *SHAPE))
    return pixels.astype(np.uint8), labels


def write(path: Path, inputs: Any, labels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, inputs=inputs, labels=labels)


def describe(root: Path, text: str = 'classes = ["dark", "grey", "light"]\n') -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.toml").write_text(text)
    return root


def make_nodes(root: Path, nodes: int = 4, tests: bool = True) -> Path:
    """Write each node's 20 + i training images and, if wanted, 8 + i test images (node 1: of two classes only)."""
    describe(root)
    for node in range(nodes):
        write(root / f"node{node}" / "train.npz", *examples(20 + node, node))
        if tests:
            classes = 2 if node == 1 else 3
            write(root / f"node{node}" / "test.npz", *examples(8 + node, 100 + node, classes))
    return root


def only(root: Path, nodes: range, where: Path) -> Path:
    """Return a folder that holds just these nodes' data, as it lies on a device."""
    where.mkdir(parents=True)
    shared = [path for path in root.iterdir() if not path.name.startswith("node")]
    for path in [*shared, *(root / f"node{node}" for node in nodes)]:
        (where / path.name).symlink_to(path)
    return where
