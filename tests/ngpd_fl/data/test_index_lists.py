"""The training examples of each node from a file of index lists."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ngpd_fl.cli.app import main
from ngpd_fl.config import Config, InputError
from ngpd_fl.data import divide, export_nodes
from ngpd_fl.data.scikit_sets import read_digits

DIGITS = read_digits(Config().data).train
SIZE = len(DIGITS)


def write(path: Path, lists: Sequence[Any]) -> Path:
    """Write index lists in the form that the name of the file says."""
    if path.suffix == ".json":
        path.write_text(json.dumps([np.asarray(of_node).tolist() for of_node in lists]))
    else:
        np.savez(path, **{f"node{node}": np.asarray(of_node) for node, of_node in enumerate(lists)})
    return path


def configured(path: Path, **data: Any) -> Config:
    return Config(data=data, topology={"nodes": 3}, partition={"name": "indices", "file": path})


LISTS = [np.arange(0, 300), np.arange(900, 300, -1), np.array([1437, 301 + 700])]


@pytest.mark.parametrize("name", ["parts.json", "parts.npz"])
def test_each_node_has_the_images_that_its_list_names(tmp_path: Path, name: str) -> None:
    partition = divide(configured(write(tmp_path / name, LISTS), validation_fraction=0))
    for node, indices in enumerate(LISTS):
        own = partition.dataset.train.inputs[partition.parts[node]]
        assert torch.equal(own, DIGITS.inputs[np.sort(indices)].float() / 16)


def test_images_held_out_for_validation_are_left_out(tmp_path: Path) -> None:
    partition = divide(configured(write(tmp_path / "parts.json", LISTS), validation_fraction=0.25))
    held = {row.numpy().tobytes() for row in partition.dataset.validation.inputs}
    for node, indices in enumerate(LISTS[:2]):
        rows = DIGITS.inputs[np.sort(indices)].float() / 16
        expected = [row for row in rows if row.numpy().tobytes() not in held]
        assert 0 < len(expected) < len(rows)
        assert torch.equal(partition.dataset.train.inputs[partition.parts[node]], torch.stack(expected))


def test_an_export_has_the_same_images(tmp_path: Path) -> None:
    config = configured(write(tmp_path / "parts.npz", LISTS))
    export_nodes(config, tmp_path / "nodes")
    partition = divide(config)
    for node, part in enumerate(partition.parts):
        with np.load(tmp_path / "nodes" / f"node{node}" / "train.npz") as file:
            assert np.array_equal(file["inputs"] / np.float32(16), partition.dataset.train.inputs[part].numpy())


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "parts.json", LISTS)
    flags = ["--set", f"partition.file={path}", "--partition", "indices", "--nodes", "3"]
    assert main(["partition", *flags, "--out", str(tmp_path / "picture.png")]) == 0
    shown = capsys.readouterr().out
    assert "indices (file parts.json)" in shown and "images per node" in shown


def test_other_lists_are_another_partition(tmp_path: Path) -> None:
    first, second = (
        divide(configured(write(tmp_path / "parts.json", lists))).fingerprint
        for lists in (LISTS, [LISTS[1], LISTS[0], LISTS[2]])
    )
    assert first != second


def bomb(path: Path) -> None:
    """An archive of 2 GiB in 2 MiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("node0.npy", "w", force_zip64=True) as file:
            for _ in range(1 << 11):
                file.write(bytes(1 << 20))


def objects(path: Path) -> None:
    np.savez(path, node0=np.array([{}], dtype=object))


def huge_shape(path: Path) -> None:
    head = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }"
    head = head.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("node0.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(8))


def long(path: Path) -> None:
    """Many indices of a byte each, in 300 KiB: as int64, sorted and counted, they would take eight times as much."""
    np.savez_compressed(path, node0=[0], node1=np.zeros(1 << 28, np.int8), node2=[1])


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.json", lambda path: None, r"cannot be read \(No such file or directory\)"),
        ("a.csv", text("1,2"), r"should end in \.json or \.npz"),
        ("a.json", lambda path: path.mkdir(), "is not a file"),
        ("a.json", text("[[1, 2"), r"damaged \("),
        ("a.json", text("{}"), "is a dict; expected a list of indices for each node"),
        ("a.json", text("[[0], [1]]"), r"has 2 lists for 3 nodes \(topology.nodes\)"),
        ("a.json", text("[[0], [], [1]]"), "node 1 has no example"),
        ("a.json", text("[[0], 5, [1]]"), "node 1 has 0 dimensions; expected a list of whole numbers"),
        ("a.json", text("[[0], [[2]], [1]]"), "node 1 has 2 dimensions; expected a list of whole numbers"),
        ("a.json", text("[[0], [2, [3]], [1]]"), "node 1 is no list of whole numbers"),
        ("a.json", text("[[0], [2.0], [1]]"), "node 1 holds float64; expected a list of whole numbers"),
        ("a.json", text("[[0], [true], [1]]"), "node 1 holds bool; expected"),
        ("a.json", text('[[0], ["2"], [1]]'), "node 1 holds <U1; expected"),
        (
            "a.json",
            text(f"[[0], [{2**63}], [1]]"),
            f"node 1 has index {2**63}; .* 0 to {SIZE - 1}",
        ),
        ("a.json", text(f"[[0], [{2**64 - 1}, -1], [1]]"), "node 1 has index -1; allowed"),
        (
            "a.json",
            text(f"[[0], {list(range(SIZE))}, [1]]"),
            f"the lists have {SIZE + 2} indices; allowed: each of {SIZE}",
        ),
        ("a.npz", long, f"node 1 has 268435456 indices; allowed: each of {SIZE} once"),
        ("a.json", text("[[0], [-1], [1]]"), f"node 1 has index -1; allowed: 0 to {SIZE - 1}, as the data set lies"),
        ("a.json", text(f"[[0], [{SIZE}], [1]]"), f"node 1 has index {SIZE}; allowed"),
        ("a.json", text("[[0], [5, 5], [1]]"), "index 5 is on node 1 twice; allowed: once on one node"),
        ("a.json", text("[[0, 5], [2], [5]]"), "index 5 is on nodes 0 and 2; allowed"),
        ("a.npz", text("PK"), r"cannot be read as \.npz \("),
        ("a.npz", objects, r"cannot be read as \.npz \(Object arrays"),
        ("a.npz", huge_shape, r"cannot be read as \.npz \("),
        ("a.npz", bomb, "its arrays are larger than 1024 MiB"),
        ("a.npz", lambda path: np.savez(path, node0=[1], first=[2]), "has an array 'first'; expected node0, node1, "),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, name: str, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=f"^partition.file: {path}:? {words}") as raised:
        divide(configured(path))
    assert "\n" not in str(raised.value)


def test_a_node_needs_an_image_that_is_not_held_out(tmp_path: Path) -> None:
    kept = divide(Config(data={"validation_fraction": 0.1}, partition="iid")).dataset
    assert kept.train_index is not None
    held = int((kept.train_index == -1).nonzero()[0])
    lists = [[place for place in range(3) if place != held], [held], [700]]
    with pytest.raises(InputError, match=r"all examples of node 1 are held out .* or set data.validation_fraction=0$"):
        divide(configured(write(tmp_path / "a.json", lists)))


def test_the_file_is_required() -> None:
    with pytest.raises(InputError, match="^partition.file: this key is required$"):
        Config(partition="indices")
