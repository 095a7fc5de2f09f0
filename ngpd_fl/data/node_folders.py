"""Node folders: the data of each node in ``node0/``, ``node1/``, ..., read only by the node's own process.

A node's folder holds ``train`` and, if it has any, ``test``: a folder of images ``CLASS/*``, or a file ``.npz`` with
the arrays ``inputs`` and ``labels``. ``dataset.toml`` beside the nodes' folders describes what all nodes share. A
``test`` beside it is for the models of all nodes. See docs/how-to/data.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ngpd_fl.config import Config
from ngpd_fl.config.checks import data_folder
from ngpd_fl.config.errors import InputError
from ngpd_fl.data.arrays import check_alike, multi_label, split_of
from ngpd_fl.data.dataset import Dataset, Partition, Split
from ngpd_fl.data.description import Description
from ngpd_fl.data.image_folder import WHITE, list_classes, read_images
from ngpd_fl.data.load import check_inputs, normalized
from ngpd_fl.data.task import Regression, Task
from ngpd_fl.data.validation import hold_out
from ngpd_fl.data.vision import text_of
from topologies import TopologyOptions

_DEPTHS = {torch.uint8: "8 bits", torch.float32: "16 bits", torch.float64: "signed, 32 bits or floating-point"}
"""Of pictures, by the type of their pixels; see ``picture``."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def read_node_folders(config: Config, hosted: Sequence[int] | None = None) -> Partition:
    """Read the folders of some nodes.

    Each node holds out its own validation images. Models are evaluated on the common ``test`` if there is one.
    Otherwise each is evaluated on its node's own ``test``, or on its validation images if it has none.

    Args:
        config: the run's configuration.
        hosted: the nodes to read. Defaults to all nodes.

    Raises:
        InputError: a folder or file is missing, cannot be read or does not fit the others; one line says which.
    """
    given, num_nodes = data_folder(config.data), config.topology.nodes
    assert given is not None
    root = given.resolve()
    description, dtype = Description.read(root), getattr(torch, config.engine.dtype)
    reader = _Reader(description, config.data.image_size)
    nodes = range(num_nodes) if hosted is None else sorted(hosted)
    folders = _labeled_folders(root, nodes, config.topology) or _node_folders(root, nodes, config.topology)
    common = reader.read(root, [TEST]).get(TEST)
    own: dict[int, dict[str, Split]] = {}
    for node, folder in folders.items():
        splits = reader.read(folder, [TRAIN] if common else [TRAIN, TEST])
        if TRAIN not in splits:
            raise InputError(f"data.data_dir: {folder} holds no training data; expected train/CLASS/* or train.npz")
        try:
            splits[TRAIN], splits[VALIDATION] = _held_out(splits[TRAIN], description.task, config, node)
        except InputError as error:
            raise InputError(f"{error} (node{node})") from error
        own[node] = {name: _as_learned(split, description, dtype) for name, split in splits.items()}
    train, validation = (_joined([splits[name] for splits in own.values()]) for name in (TRAIN, VALIDATION))
    check_inputs(config.data, train.inputs)
    own_tests = [splits[TEST] for splits in own.values() if TEST in splits]
    tests = [_as_learned(common, description, dtype)] if common else own_tests
    test = _joined(tests or [Split(train.inputs[:0], train.labels[:0])])
    evaluated: Split | dict[int, Split] = test
    if config.evaluation.split == VALIDATION:
        evaluated = {node: splits[VALIDATION] for node, splits in own.items()}
    elif common is None:
        evaluated = {node: splits.get(TEST, splits[VALIDATION]) for node, splits in own.items()}
        _check_evaluated(evaluated, root)
    dataset = Dataset(config.data.dataset, train, validation, test, description.task)
    parts = _consecutive(num_nodes, {node: len(splits[TRAIN]) for node, splits in own.items()})
    return Partition(dataset, parts, evaluated, description.fingerprint)


class _Reader:
    """Reads splits and checks that they match the description and each other."""

    def __init__(self, description: Description, image_size: int) -> None:
        self._description = description
        self._image_size = image_size
        self._first: tuple[str, Split] | None = None
        self._pictures: dict[torch.dtype, Path] = {}

    def read(self, folder: Path, names: Sequence[str]) -> dict[str, Split]:
        """Return the splits in ``folder``, by name."""
        splits = dict(self._arrays(folder, names))
        pictured = [name for name in names if (folder / name).is_dir()]
        for name in pictured:
            if name in splits:
                raise InputError(f"data.data_dir: {folder} holds both {name}.npz and {name}/; allowed: one of them")
        if pictured:
            splits |= self._images(folder, pictured)
        for name, split in splits.items():
            self._check(folder / name, split)
        return splits

    def _arrays(self, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Split]]:
        for name in names:
            path = folder / f"{name}.npz"
            if not path.exists():
                continue
            try:
                with np.load(path, allow_pickle=False) as file:
                    arrays = dict(file)
            except Exception as error:  # a damaged file can fail anywhere in NumPy's parser
                raise InputError(f"data.data_dir: {path} cannot be read ({text_of(error)})") from error
            if arrays.keys() != {"inputs", "labels"}:
                has = ", ".join(sorted(arrays)) or "nothing"
                raise InputError(f"data.data_dir: {path} holds {has}; expected the arrays inputs and labels")
            try:
                split = split_of(name, arrays["inputs"], arrays["labels"])
                is_multi_label = self._description.labels is not None
                yield name, Split(split.inputs, multi_label(split.labels, name)) if is_multi_label else split
            except ValueError as error:
                raise InputError(f"data.data_dir: {path}: {error}") from error

    def _images(self, folder: Path, names: Sequence[str]) -> dict[str, Split]:
        classes = self._description.classes
        if classes is None:
            learned = "targets" if self._description.labels is None else "labels"
            raise InputError(
                f"data.data_dir: {folder / names[0]} is a folder of classes, but dataset.toml has {learned}"
            )
        if self._description.white != WHITE:
            raise InputError(f"data.data_dir: dataset.toml: white must be {WHITE} for images; they lie in {folder}")
        listings = {name: list_classes(folder / name) for name in names}
        for name, listing in listings.items():
            if unknown := sorted(set(listing.classes) - set(classes)):
                raise InputError(
                    f"data.data_dir: {folder / name / unknown[0]} is a class that dataset.toml does not have; "
                    f"allowed: {_some(classes)}"
                )
        pixels = read_images(folder, listings, self._image_size)
        for images in pixels.values():
            self._pictures.setdefault(images.dtype, folder)
        if len(self._pictures) > 1:
            depths = ", ".join(f"{where} {_DEPTHS[dtype]}" for dtype, where in self._pictures.items())
            raise InputError(f"data.data_dir: the nodes' images differ in their depth ({depths}); allowed: one for all")
        return {
            name: Split(pixels[name], torch.tensor([classes.index(name) for name in listing.classes])[listing.targets])
            for name, listing in listings.items()
        }

    def _check(self, path: Path, split: Split) -> None:
        """Raise ``InputError`` where a split does not fit the description or the first one that was read."""
        says, labels = self._description, split.labels
        where = f"data.data_dir: {path}"
        if says.labels is None and labels.is_floating_point() != (says.targets is not None):
            has, wanted = "real-valued targets", "classes, which are integers"
            if says.targets is not None:
                has, wanted = "classes", "targets"
            raise InputError(f"{where} has {has}, but dataset.toml has {wanted}")
        if says.labels is None and labels.dtype == torch.bool:
            raise InputError(f"{where} has bool labels, but dataset.toml has no labels")
        width = len(says.labels) if says.labels is not None else says.positions
        if says.targets is None and tuple(labels.shape[1:]) != (() if width is None else (width,)):
            wanted = "one class of each example" if width is None else f"(examples, {width})"
            raise InputError(f"{where} has labels of shape {tuple(labels.shape)}; by dataset.toml expected {wanted}")
        if says.classes is not None and int(labels.max()) >= len(says.classes):
            last = len(says.classes) - 1
            raise InputError(
                f"{where} has class {int(labels.max())}; dataset.toml has {last + 1}, allowed: 0 to {last}"
                + (", not from 1" if int(labels.min()) == 1 and int(labels.max()) == last + 1 else "")
            )
        if says.targets is not None and labels.shape[1] != len(says.targets.mean):
            raise InputError(f"{where} has {labels.shape[1]} targets, dataset.toml {len(says.targets.mean)}")
        if len(says.mean) not in (1, split.inputs.shape[1]):
            raise InputError(
                f"{where} has inputs of shape {tuple(split.inputs.shape[1:])}; dataset.toml has {len(says.mean)} mean "
                f"values, allowed: 1 or {split.inputs.shape[1]}"
            )
        if self._first is None:
            self._first = (str(path), split)
        try:
            check_alike(self._first[1], split, (f"{self._first[0]}: ", f"{path}: "))
        except ValueError as error:
            raise InputError(f"data.data_dir: {error}") from error


def _labeled_folders(root: Path, nodes: Sequence[int], topology: TopologyOptions) -> dict[int, Path]:
    """Return each node's folder where all are called by the graph's labels; empty where one is not."""
    there = {folder.name for folder in root.iterdir() if folder.is_dir()}  # a label is no path
    names = [topology.node_names[node] for node in nodes]
    if not topology.has_labels or not there.issuperset(names):
        return {}
    return {node: root / name for node, name in zip(nodes, names, strict=True)}


def _node_folders(root: Path, nodes: Sequence[int], topology: TopologyOptions) -> dict[int, Path]:
    """Return each node's folder; raise ``InputError`` where one is missing, or is there of a node that is not."""
    num_nodes = topology.nodes
    names = f"node0 to node{num_nodes - 1}"
    if topology.has_labels:
        names += f", or those of their labels: {_some(topology.node_names)}"
    for folder in sorted(root.iterdir()):
        number = re.fullmatch(r"node(0|[1-9]\d*)", folder.name)
        if number and int(number[1]) >= num_nodes:
            raise InputError(f"topology.nodes: {root} holds {folder.name}, but {num_nodes} nodes have {names}")
    folders = {node: root / f"node{node}" for node in nodes}
    for folder in folders.values():
        if not folder.is_dir():
            raise InputError(f"data.data_dir: {root} holds no folder {folder.name}; {num_nodes} nodes have {names}")
    return folders


def _check_evaluated(evaluated: Mapping[int, Split], root: Path) -> None:
    """Raise ``InputError`` where a node's model cannot be evaluated on anything."""
    for node, split in evaluated.items():
        if not len(split):
            raise InputError(
                f"data.data_dir: node{node} has no test data, and there are none for all in {root}; with "
                "data.validation_fraction above 0 its model is evaluated on a part of its training data"
            )


def _held_out(split: Split, task: Task, config: Config, node: int) -> tuple[Split, Split]:
    """Return a node's training examples, as they lie on disk, without and with only its validation examples."""
    labels = task.standardized(split.labels) if isinstance(task, Regression) else split.labels
    kept, held = hold_out(task.strata(labels).numpy(), config.data.validation_fraction, config.seed, node)
    return Split(split.inputs[kept], split.labels[kept]), Split(split.inputs[held], split.labels[held])


def _as_learned(split: Split, description: Description, dtype: torch.dtype) -> Split:
    """Return examples as the network gets them; see ``normalized``."""
    task = description.task
    labels = task.standardized(split.labels).to(dtype) if isinstance(task, Regression) else split.labels
    white = description.white if split.inputs.dtype == torch.uint8 else 1
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (description.mean, description.std))
    try:
        return Split(normalized(split.inputs, white, mean, std, dtype), labels)
    except ValueError as error:
        raise InputError(f"data.data_dir: {error}") from error


def _joined(splits: Sequence[Split]) -> Split:
    return Split(torch.cat([split.inputs for split in splits]), torch.cat([split.labels for split in splits]))


def _consecutive(num_nodes: int, sizes: Mapping[int, int]) -> list[NDArray[np.int64]]:
    """Return each node's indices where the examples of those with a size follow one another; others have none."""
    ends = np.cumsum([sizes.get(node, 0) for node in range(num_nodes)])
    return [np.arange(end - sizes.get(node, 0), end) for node, end in enumerate(ends)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
