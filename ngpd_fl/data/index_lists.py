"""Index lists: the training examples of each node, given by a user or read from a file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config import read_json
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.held_object import is_object_name, require_object
from ngpd_fl.config.partitions import IndicesPartition
from ngpd_fl.config.text_files import expanded, require_file

_LARGEST = 1 << 30
"""Bytes of all arrays of a file."""

_KEY = "partition.file"


def index_lists(config: IndicesPartition, num_nodes: int, train_index: Tensor) -> list[NDArray[np.int64]]:
    """Return the training examples of each node, as indices into the training split, sorted.

    Args:
        config: names the file, or holds the lists.
        num_nodes: N.
        train_index: as in ``Dataset``; examples in other splits are left out.

    Raises:
        InputError: the file cannot be read, or the lists are no partition; one line names the node.
    """
    name = str(config.file)
    if is_object_name(name):
        given, where = require_object(config.held, _KEY, name, "partition"), "partition"
    else:
        given, where = _read(config.file), f"{_KEY}: {name}"
    if not isinstance(given, Sequence):
        raise InputError(f"{where} is a {type(given).__name__}; expected a list of indices for each node")
    if len(given) != num_nodes:
        raise InputError(f"{where} has {len(given)} lists for {num_nodes} nodes (topology.nodes)")
    lists = [_indices(f"{where}: node {node}", values, len(train_index)) for node, values in enumerate(given)]
    if (number := sum(map(len, lists))) > len(train_index):
        raise InputError(f"{where}: the lists have {number} indices; allowed: each of {len(train_index)} once")
    nodes, indices = np.repeat(np.arange(num_nodes), [len(of_node) for of_node in lists]), np.concatenate(lists)
    order = np.argsort(indices, kind="stable")
    twice = np.flatnonzero(np.diff(indices[order]) == 0)
    if len(twice):
        first, second = nodes[order[twice[0] : twice[0] + 2]]
        on = f"node {first} twice" if first == second else f"nodes {first} and {second}"
        raise InputError(f"{where}: index {indices[order[twice[0]]]} is on {on}; allowed: once on one node")
    table = train_index.numpy()
    parts = [np.sort(part[part >= 0]) for part in (table[of_node] for of_node in lists)]
    if empty := [node for node, part in enumerate(parts) if not len(part)]:
        raise InputError(
            f"{where}: all examples of node {empty[0]} are held out for validation or test; give it more, or "
            "set data.validation_fraction=0"
        )
    return parts


def _indices(where: str, values: Any, size: int) -> NDArray[np.int64]:
    """Return one node's indices; raise ``InputError`` where they are none of ``size`` examples."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{where} is masked in part; leave these out (compressed())")
    try:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (ValueError, OverflowError, TypeError, RuntimeError) as error:  # not a value at each of so many places
        raise InputError(f"{where} is no list of whole numbers") from error
    if array.ndim == 1 and len(array) > size:
        raise InputError(f"{where} has {len(array)} indices; allowed: each of {size} once")
    if array.ndim == 1 and array.dtype.kind in "fO" and len(array) and all(type(value) is int for value in values):
        array = np.array(values, dtype=object)  # whole numbers that no type of NumPy's holds together
    elif array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
        problem = f"holds {array.dtype}" if array.ndim == 1 else f"has {array.ndim} dimensions"
        hint = ": numpy.flatnonzero(mask)" * (array.dtype == bool)
        raise InputError(f"{where} {problem}; expected a list of whole numbers{hint}")
    if not len(array):
        raise InputError(f"{where} has no example")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        raise InputError(
            f"{where} has index {low if low < 0 else high}; allowed: 0 to {size - 1}, as the data set lies"
        )
    return array.astype(np.int64)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".json":
            return read_json(expanded(path))
        if path.suffix == ".npz":
            return _read_arrays(expanded(path))
    except InputError as error:
        raise InputError(f"{_KEY}: {error}") from error
    raise InputError(f"{_KEY}: {path} should end in .json or .npz")


def _read_arrays(path: Path) -> list[Any]:
    """Return the arrays node0, node1, ... of a file. No code runs, and memory is bounded."""
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise InputError(f"{path}: its arrays are larger than {_LARGEST >> 20} MiB")
        with np.load(path, allow_pickle=False) as file:
            names = [f"node{node}" for node in range(len(file.files))]
            if odd := set(file.files) - set(names):
                raise InputError(f"{path}: has an array {min(odd)!r}; expected node0, node1, ..., one for each node")
            return [file[name] for name in names]
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the two libraries
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error
