"""A user's own data set: arrays or a data set object, given to ``run`` or returned by a function of an import path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import reason
from ngpd_fl.config.installed import own_object
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.arrays import check_alike, multi_label, packed, split_of, task_of
from ngpd_fl.data.dataset import Dataset, RawDataset, Split
from ngpd_fl.data.examples import Examples
from ngpd_fl.data.hugging_face import has_transform, is_table, table_examples
from ngpd_fl.data.task import (
    Classification,
    MultiLabelClassification,
    Regression,
    TokenClassification,
    column_statistics,
)
from ngpd_fl.data.torch_sets import torch_examples
from ngpd_fl.data.validation import held_out_rows

FORMS = (
    "(inputs, labels), (train_inputs, train_labels, test_inputs, test_labels), a torch or Hugging Face Dataset, a pair "
    "of them for training and test, or a ngpd_fl.data.Dataset"
)


def read_custom(config: DataConfig) -> RawDataset | Dataset:
    """Return the user's own data: those given to ``run``, or what the ``factory()`` that is named returns.

    They are ``(inputs, labels)``, ``(train_inputs, train_labels, test_inputs, test_labels)``, a map-style torch
    ``Dataset`` or Hugging Face ``Dataset``, a pair of these for training and test, a mapping with the keys ``train``
    and ``test``, or a ``Dataset`` of this package. Without test examples, every fifth example of each class is one.

    Arrays are tensors or NumPy arrays. Inputs are ``[M, ...]``, images ``[M, C, H, W]``: floating-point ones are
    taken as they are, uint8 ones are scaled to [0, 1], other integers are token ids. Or several inputs, a dictionary or
    a tuple of such arrays, which become the network's arguments by name or by position. Labels are integers from 0,
    ``[M]``; the largest, plus one, is the number of classes, most of which have to occur. Or a class at each position,
    ``[M, T]``, ``IGNORE_INDEX`` at padding. Or the answers of multi-label classification, ``[M, C]``: bool, or 0 and 1
    with ``data.task = "multi-label"``. Or floating-point targets, ``[M]`` or ``[M, T]``, which makes it regression:
    targets, and inputs that are vectors ``[M, d]``, are then standardized by the training examples. A factory is to
    return the same at every call, since runs are repeated by it; torch's, NumPy's and Python's own generators start
    from the same seed each time.

    Raises:
        InputError: the factory cannot be imported or fails, or the data are something else; one line says what.
    """
    path = config.dataset
    given = own_object(path, "datasets", "data.dataset", config.held)
    if callable(given) and not _is_set(given):
        try:
            with own_randomness(0):
                given = given()
        except (Exception, SystemExit) as error:  # a script may end the process
            raise InputError(f"data.dataset: {path}() failed ({reason(error)})") from error
    if not isinstance(given, Dataset):
        return raw_of(path, given, config)
    try:
        _check_dataset(given)
    except ValueError as error:
        raise InputError(f"data.dataset: {path}: {error}") from error
    return given


def raw_of(name: str, given: Any, config: DataConfig) -> RawDataset:
    """Return arrays or sets of examples, in a form that ``read_custom`` takes, as a reader returns them.

    Raises:
        InputError: they are something else; one line says what.
    """
    try:
        return raw_dataset(name, *_train_and_test(name, given, config), config.task == "multi-label")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"data.dataset: {name}: {error}") from error


def raw_dataset(name: str, train: Examples, test: Examples | None, is_multi_label: bool = False) -> RawDataset:
    """Return checked examples as a reader returns them.

    Args:
        name: of the data set, for messages.
        train: the training examples; every fifth of a class is a test example if ``test`` is None.
        test: the test examples.
        is_multi_label: as for ``task_of``.

    Raises:
        ValueError: the arrays are not what ``read_custom`` takes, or training and test differ in kind.
    """
    fields, train_rows = packed("train", train.inputs)
    learned, owners, train_index = split_of("train", train_rows, train.labels), train.owners, None
    if test is None:
        is_test = held_out_rows(learned.labels)
        if not is_test.any():
            raise ValueError("no class has the 5 examples of which one is for the test; give test examples as well")
        tested = Split(learned.inputs[is_test], learned.labels[is_test])
        learned = Split(learned.inputs[~is_test], learned.labels[~is_test])
        train_index = torch.cumsum(~is_test, 0).sub_(1).masked_fill_(is_test, -1)
        owners = None if owners is None else owners[~is_test]
    else:
        test_fields, test_rows = packed("test", test.inputs)
        if fields != test_fields:
            raise ValueError("train_inputs and test_inputs are not the same inputs, of the same shapes and types")
        tested = split_of("test", test_rows, test.labels)
    check_alike(learned, tested)
    learned, tested, task = task_of(name, learned, tested, is_multi_label)
    white = 255 if learned.inputs.dtype == torch.uint8 else 1
    mean, std = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    if task is None and fields is None and learned.inputs.dtype != torch.int64 and learned.inputs.ndim == 2:
        mean, std = column_statistics(learned.inputs.double() / white)
    return RawDataset(learned, tested, task, white, mean, std, train_index, owners, fields)


def _train_and_test(path: str, given: Any, config: DataConfig) -> tuple[Examples, Examples | None]:
    """Return the training examples, and the test examples where there are any."""
    if isinstance(given, Mapping) and "train" in given:
        parts = [given[key] for key in ("train", "test") if key in given]
        if all(isinstance(part, tuple | list) and len(part) == 2 for part in parts):
            train, *test = (Examples(*part) for part in parts)
            return train, test[0] if test else None
        given = parts if len(parts) > 1 else parts[0]
    if _is_set(given):
        return _examples(given, "train", config), None
    if isinstance(given, tuple | list):
        if len(given) == 2 and all(map(_is_set, given)):
            train, test = given
            return _examples(train, "train", config), _examples(test, "test", config)
        if len(given) == 2 and not any(map(_is_set, given)):
            return Examples(*given), None
        if len(given) == 4:
            return Examples(*given[:2]), Examples(*given[2:])
    kind = f"{len(given)} values" if isinstance(given, tuple | list) else type(given).__name__
    raise InputError(f"data.dataset: {path} gives {kind}; expected {FORMS}")


def _is_set(given: Any) -> bool:
    return isinstance(given, torch_data.Dataset) or is_table(given)


def _examples(given: Any, name: str, config: DataConfig) -> Examples:
    if is_table(given) and not has_transform(given):
        return table_examples(given, name, config)
    return torch_examples(given, name, config)


def _check_dataset(given: Dataset) -> None:
    """Raise ``ValueError`` where the splits of a ready data set are not what its task says."""
    task: Any = given.task
    if not isinstance(task, Classification | TokenClassification | MultiLabelClassification | Regression):
        raise ValueError(f"its task is a {type(task).__name__}; expected one of ngpd_fl.data.task")
    is_regression = isinstance(task, Regression)
    width = () if isinstance(task, Classification) else task.positions or (task.num_outputs,)
    for name in ("train", "validation", "test"):
        split = getattr(given, name)
        if not isinstance(split, Split):
            raise ValueError(f"{name} is a {type(split).__name__}; expected a ngpd_fl.data.Split")
        _check_types(name, split)
        if not len(split) and name != "train":
            continue
        checked = split_of(name, split.inputs, split.labels)
        check_alike(given.train, split, ("train_", f"{name}_"))
        if checked.labels.is_floating_point() != is_regression:
            raise ValueError(f"{name} has labels of another kind than its task, {type(task).__name__}")
        if checked.labels.shape[1:] != width:
            shape, wanted = tuple(checked.labels.shape), (len(split), *width)
            raise ValueError(f"{name}_labels have shape {shape}; its task, {type(task).__name__}, expects {wanted}")
        if isinstance(task, MultiLabelClassification):
            multi_label(checked.labels, name)
        elif not is_regression and int(checked.labels.max()) >= task.num_outputs:
            raise ValueError(
                f"{name}_labels go up to {int(checked.labels.max())}; its task has {task.num_outputs} classes"
            )
    _check_indices("train_index", given.train_index, None, -1, len(given.train) - 1)
    _check_indices("owners", given.owners, len(given.train), 0, None)


def _check_types(name: str, split: Split) -> None:
    """Raise ``ValueError`` where a split is not stored as a network gets it."""
    for kind, values in (("inputs", split.inputs), ("labels", split.labels)):
        if not isinstance(values, Tensor):
            raise ValueError(f"{name}_{kind} are a {type(values).__name__}; a Dataset holds tensors")
        if values.dtype not in (torch.int64, torch.float32, torch.float64):
            raise ValueError(
                f"{name}_{kind} are {str(values.dtype).removeprefix('torch.')}; a Dataset holds what a network gets: "
                "float32, float64, or int64 token ids and classes"
            )


def _check_indices(name: str, given: Any, length: int | None, low: int, high: int | None) -> None:
    """Raise ``ValueError`` unless ``given`` is None or int64 ``[length]``, from ``low`` to ``high`` where these are."""
    if given is None:
        return
    if not isinstance(given, Tensor) or given.dtype != torch.int64 or given.ndim != 1:
        raise ValueError(f"{name}: should be int64, one number an example")
    if length is not None and len(given) != length:
        raise ValueError(f"{name}: {len(given)} numbers; expected {length}, one for each training example")
    if len(given) and (int(given.min()) < low or (high is not None and int(given.max()) > high)):
        allowed = f"{low} and more" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: from {int(given.min())} to {int(given.max())}; allowed: {allowed}")
