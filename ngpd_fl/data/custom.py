"""A user's own data set: a function of theirs, named by its import path, returns its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.importing import import_object, reason
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import column_statistics

PARTS = ("train_inputs", "train_labels", "test_inputs", "test_labels")


def read_custom(config: DataConfig) -> RawDataset:
    """Call the user's ``factory()``, which returns ``(train_inputs, train_labels, test_inputs, test_labels)``.

    Each is a tensor or a NumPy array. Inputs are ``[M, ...]``, images ``[M, C, H, W]``: floating-point ones are taken
    as they are (in float32), uint8 ones are scaled to [0, 1]. Labels are integers from 0, ``[M]``; the largest, plus
    one, is the number of classes. Or they are floating-point targets, ``[M]`` or ``[M, T]``, which makes it regression:
    targets, and inputs that are vectors ``[M, d]``, are then standardised by the training examples. The factory is to
    return the same at every call: runs are repeated by it.

    Raises:
        InputError: the factory cannot be imported, fails, or returns something else; one line says what.
    """
    path = config.dataset
    factory = import_object(path, "data.dataset")
    try:
        returned = factory()
    except Exception as error:
        raise InputError(f"data.dataset: {path}() failed ({reason(error)})") from error
    if not isinstance(returned, tuple | list) or len(returned) != len(PARTS):
        given = f"{len(returned)} values" if isinstance(returned, tuple | list) else type(returned).__name__
        raise InputError(f"data.dataset: {path} returned {given}; expected ({', '.join(PARTS)})")
    try:
        train_inputs, test_inputs = (_inputs(returned[index], PARTS[index]) for index in (0, 2))
        train_labels, test_labels = (_labels(returned[index], PARTS[index]) for index in (1, 3))
        train, test = _split("train", train_inputs, train_labels), _split("test", test_inputs, test_labels)
        if train.inputs.shape[1:] != test.inputs.shape[1:] or train.inputs.dtype != test.inputs.dtype:
            raise ValueError(f"train_inputs are {_kind(train.inputs)} but test_inputs {_kind(test.inputs)}")
        if train.labels.shape[1:] != test.labels.shape[1:] or train.labels.dtype != test.labels.dtype:
            raise ValueError(f"train_labels are {_meaning(train.labels)} but test_labels {_meaning(test.labels)}")
    except ValueError as error:
        raise InputError(f"data.dataset: {path}: {error}") from error
    white = 255 if train.inputs.dtype == torch.uint8 else 1
    if not train.labels.is_floating_point():
        num_classes = int(max(train.labels.max(), test.labels.max())) + 1
        return RawDataset(train, test, num_classes, white, mean=torch.zeros(1), std=torch.ones(1))
    mean, std = torch.zeros(1), torch.ones(1)
    if train.inputs.ndim == 2:
        mean, std = (each.float() for each in column_statistics(train.inputs / white))
    return RawDataset(train, test, None, white, mean, std)


def _inputs(given: Any, name: str) -> Tensor:
    """Return inputs as a uint8 or float32 tensor ``[M, ...]`` of our own."""
    values = _tensor(given, name)
    if values.dtype != torch.uint8 and not values.is_floating_point():
        raise ValueError(f"{name} are {_dtype(given)}; expected a floating-point type or uint8")
    if values.ndim < 2 or values.numel() == 0:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (images, ...), none of them 0")
    if values.is_floating_point():
        values = values.to(torch.float32)
        if not values.isfinite().all():
            raise ValueError(f"{name} have values that are infinite, not a number, or too large for float32")
    return values


def _labels(given: Any, name: str) -> Tensor:
    """Return labels as a tensor of our own: classes int64 ``[M]``, or real-valued targets float64 ``[M, T]``."""
    values = _tensor(given, name)
    if values.is_floating_point():
        if values.ndim not in (1, 2) or values.numel() == 0:
            raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (examples,) or (examples, targets)")
        if not values.isfinite().all():
            raise ValueError(f"{name} have values that are infinite or not a number")
        return values.double().reshape(len(values), -1)
    if values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} are {_dtype(given)}; expected integers (classes) or floating-point (targets)")
    if values.ndim != 1:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected one integer per image")
    values = values.to(torch.int64)
    if len(values) and int(values.min()) < 0:
        raise ValueError(f"{name} go down to {int(values.min())}; expected classes from 0")
    return values


def _split(name: str, inputs: Tensor, labels: Tensor) -> Split:
    if len(inputs) != len(labels):
        raise ValueError(f"{len(inputs)} {name}_inputs but {len(labels)} {name}_labels")
    return Split(inputs, labels)


def _tensor(given: Any, name: str) -> Tensor:
    """Return a copy, on the CPU, in the form in which torch holds such values."""
    if isinstance(given, Tensor):
        return given.detach().to("cpu", copy=True)
    if not isinstance(given, np.ndarray):
        raise ValueError(f"{name} are a {type(given).__name__}; expected a tensor or a NumPy array")
    if given.dtype.kind not in "biufc":
        raise ValueError(f"{name} are {given.dtype}; expected numbers")
    if given.dtype.kind == "f" and given.dtype.itemsize > 8:
        given = given.astype(np.float64)
    return torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))


def _dtype(given: Any) -> str:
    return str(given.dtype).removeprefix("torch.")


def _meaning(labels: Tensor) -> str:
    return f"real-valued targets, {labels.shape[1]} each," if labels.is_floating_point() else "classes"


def _kind(values: Tensor) -> str:
    return f"{_dtype(values)} of shape {tuple(values.shape[1:])}"
