"""Validation of a user's arrays, and their conversion into tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.config.import_paths import reason
from ngpd_fl.data.classes import RENUMBER, count_classes
from ngpd_fl.data.dataset import Split
from ngpd_fl.data.fields import Fields
from ngpd_fl.data.task import IGNORE_INDEX, Classification, MultiLabelClassification, Task, TokenClassification

logger = logging.getLogger(__name__)


def split_of(name: str, inputs: Any, labels: Any) -> Split:
    """Return a split of inputs uint8, int64 or floating-point ``[M, ...]`` and of classes or real-valued targets.

    Floating-point numbers keep their type, so that nothing is lost before they are standardized; bool labels as well.

    Args:
        name: the split's name; errors call the arrays ``NAME_inputs`` and ``NAME_labels``.
        inputs: a tensor or a NumPy array ``[M, ...]``.
        labels: likewise, classes from 0, ``[M]``, or one at each position, ``[M, T]``, ``IGNORE_INDEX`` at padding;
            bool ``[M, C]``; or floating-point targets ``[M]`` or ``[M, T]``.

    Raises:
        ValueError: they are something else; the message is one line.
    """
    examples, targets = _inputs(inputs, f"{name}_inputs"), _labels(labels, f"{name}_labels")
    if len(examples) != len(targets):
        raise ValueError(f"{len(examples)} {name}_inputs but {len(targets)} {name}_labels")
    return Split(examples, targets)


def check_alike(one: Split, other: Split, prefixes: tuple[str, str] = ("train_", "test_")) -> None:
    """Raise ``ValueError`` where two splits differ in their shapes, or in whether they have bytes, ids or classes."""
    first, second = prefixes
    kind, of_other = (
        split.inputs.is_floating_point() or split.inputs.dtype for split in (one, other)
    )  # floating-point types may differ
    if one.inputs.shape[1:] != other.inputs.shape[1:] or kind != of_other:
        raise ValueError(f"{first}inputs are {_kind(one.inputs)} but {second}inputs {_kind(other.inputs)}")
    if one.labels.shape[1:] != other.labels.shape[1:] or one.labels.dtype != other.labels.dtype:
        raise ValueError(f"{first}labels are {_meaning(one.labels)} but {second}labels {_meaning(other.labels)}")


def packed(name: str, given: Any) -> tuple[Fields | None, Any]:
    """Return several inputs, a dictionary or a tuple of arrays ``[M, ...]``, as rows ``[M, K]`` with their fields.

    One array is returned as it is, without fields.

    Raises:
        ValueError: they are something else; the message is one line.
    """
    if not isinstance(given, Mapping | tuple):
        return None, given
    keys: list[Any] = list(given) if isinstance(given, Mapping) else list(range(len(given)))
    if not keys or (isinstance(given, Mapping) and not all(isinstance(key, str) for key in keys)):
        raise ValueError(f"{name}_inputs are a {type(given).__name__} of {keys}; expected arrays, by name or position")
    tensors = {key: _tensor(given[key], f"{name}_inputs[{key!r}]") for key in keys}
    for key, tensor in tensors.items():
        if tensor.is_complex() or not tensor.ndim or not tensor.numel():
            kind = f"{_dtype(tensor)} of shape {tuple(tensor.shape)}"
            raise ValueError(f"{name}_inputs[{key!r}] are {kind}; expected real numbers, (examples, ...)")
        if len(tensor) != len(tensors[keys[0]]):
            raise ValueError(f"{len(tensors[keys[0]])} {name}_inputs[{keys[0]!r}] but {len(tensor)} [{key!r}]")
        if tensor.is_floating_point():
            _check_finite(tensor, f"{name}_inputs[{key!r}]")
        elif tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch cannot reckon with them
            tensors[key] = _integers(tensor, f"{name}_inputs[{key!r}]", "integers below 2^63")
    inputs = tensors if isinstance(given, Mapping) else tuple(tensors.values())
    fields = Fields.of(inputs)
    return fields, fields.pack(inputs)


def _inputs(given: Any, name: str) -> Tensor:
    """Return inputs as a uint8, int64 or floating-point tensor ``[M, ...]`` of our own."""
    values = _tensor(given, name)
    if values.is_complex() or values.dtype == torch.bool:
        raise ValueError(
            f"{name} are {_dtype(given)}; expected a floating-point type, taken as it is, uint8, divided by 255, or "
            "another integer type: token ids; astype('float64') converts measurements"
        )
    if values.ndim < 2 or values.numel() == 0:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (examples, ...), none of them 0")
    if not values.is_floating_point():
        return values if values.dtype == torch.uint8 else _integers(values, name, "token ids from 0")
    if values.itemsize < 4:
        values = values.to(torch.float32)  # exact; NumPy does not know all of the small types
    _check_finite(values, name)
    return values


def _integers(values: Tensor, name: str, expected: str, also: int | None = None) -> Tensor:
    """Return integers as int64; raise ``ValueError`` where one is below 0, unless it is ``also``, or too large."""
    if values.dtype == torch.uint64 and values.numel() and int(values.numpy().max()) >= 2**63:
        raise ValueError(f"{name} go up to {int(values.numpy().max())}; expected {expected}")
    values = values.to(torch.int64)
    is_odd = values < 0 if also is None else (values < 0) & (values != also)
    if is_odd.any():
        raise ValueError(f"{name} go down to {int(values[is_odd].min())}; expected {expected}")
    return values


def _labels(given: Any, name: str) -> Tensor:
    """Return labels as a tensor of our own.

    Classes are int64 ``[M]`` or ``[M, T]``, answers bool ``[M, C]``, real-valued targets float64 ``[M, T]``.
    """
    values = _tensor(given, name, f"classes are integers: {RENUMBER}")
    if values.is_floating_point():
        if values.ndim not in (1, 2) or values.numel() == 0:
            raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (examples,) or (examples, targets)")
        _check_finite(values, name)
        return values.double().reshape(len(values), -1)
    if values.is_complex() or (values.dtype == torch.bool and values.ndim != 2):
        hint = "; labels.astype(int) makes two classes of them" if values.dtype == torch.bool else ""
        raise ValueError(f"{name} are {_dtype(given)}; expected integers (classes) or floating-point (targets){hint}")
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] == 0):
        raise ValueError(
            f"{name} have shape {tuple(values.shape)}; expected one integer per example, (examples,), or one at each "
            "position, (examples, positions)"
        )
    if values.dtype == torch.bool:
        return values
    if values.ndim == 1:
        return _integers(values, name, f"classes from 0: {RENUMBER}")
    values = _integers(values, name, f"classes 0 to C - 1, or {IGNORE_INDEX} at padding", also=IGNORE_INDEX)
    if (padding := (values == IGNORE_INDEX).all(1)).any():
        raise ValueError(f"{name}[{int(padding.nonzero()[0])}] is all padding ({IGNORE_INDEX}); leave it out")
    return values


def task_of(name: str, train: Split, test: Split, is_multi_label: bool) -> tuple[Split, Split, Task | None]:
    """Return two splits with labels as networks learn them, and their task; None for real-valued targets.

    Args:
        name: of the data set.
        train: as ``split_of`` returns it.
        test: likewise, alike.
        is_multi_label: whether labels of 0 and 1, ``[M, C]``, are answers rather than classes or targets.

    Raises:
        ValueError: the labels are not of this task; the message is one line.
    """
    labels = train.labels
    if is_multi_label or labels.dtype == torch.bool:
        train, test = (
            Split(split.inputs, multi_label(split.labels, part)) for split, part in ((train, "train"), (test, "test"))
        )
        return train, test, MultiLabelClassification(labels.shape[1])
    if labels.is_floating_point():
        if (labels == labels.round()).all():
            logger.warning(
                "%s: labels are whole numbers of a floating-point type: targets; for classes give integers", name
            )
        return train, test, None
    if labels.ndim == 1:
        return train, test, Classification(count_classes(name, [labels, test.labels]))
    if labels.shape[1] == 1:
        raise ValueError(
            f"train_labels have shape {tuple(labels.shape)}; expected one integer per example: labels.squeeze(1)"
        )
    if int(labels.min()) == 0 and int(labels.max()) == 1:
        logger.warning(
            "%s: labels are 0 or 1 at each of %d positions: one of 2 classes; data.task=multi-label takes them as "
            "answers to %d questions",
            *(name, labels.shape[1], labels.shape[1]),
        )
    return train, test, TokenClassification(1 + max(int(labels.max()), int(test.labels.max())), labels.shape[1])


def multi_label(labels: Tensor, name: str) -> Tensor:
    """Return answers ``[M, C]`` of 0 and 1 as int64; raise ``ValueError`` where they are something else."""
    if labels.ndim != 2 or not ((labels == 0) | (labels == 1)).all():
        odd = f"have the value {labels[(labels != 0) & (labels != 1)][0]:g}" if labels.ndim == 2 else "are classes"
        raise ValueError(f"{name}_labels {odd}; multi-label classification needs 0 or 1, (examples, labels)")
    return labels.to(torch.int64)


def _check_finite(values: Tensor, name: str) -> None:
    """Raise ``ValueError`` that names the first example with a value that is none."""
    odd = ~values.isfinite().flatten(1).all(1) if values.ndim > 1 else ~values.isfinite()
    if odd.any():
        raise ValueError(
            f"{name} have values that are infinite or not a number, in {int(odd.sum())} of {len(odd)} examples, first "
            f"in {name}[{int(odd.nonzero()[0])}]; fill them in or leave these examples out"
        )


def _tensor(given: Any, name: str, instead: str = "convert them") -> Tensor:
    """Return a copy, on the CPU, in the form in which torch holds such values."""
    if isinstance(given, Tensor):
        return _dense(given.detach(), name)
    if not isinstance(given, np.ndarray):
        raise ValueError(f"{name} are a {type(given).__name__}; expected a tensor or a NumPy array")
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError(f"{name} are masked in part; fill in what is missing or leave these examples out")
    if given.dtype.kind not in "biufc":
        raise ValueError(f"{name} are {given.dtype}; expected numbers: {instead}")
    if given.dtype.kind == "f" and given.dtype.itemsize > 8:
        given = given.astype(np.float64)
    return torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))


def _dense(given: Tensor, name: str) -> Tensor:
    """Return a copy of a tensor on the CPU; raise ``ValueError`` where it has no values, or not one at each place."""
    for is_odd, kind, instead in (
        (given.is_meta, "on the device meta, without values", "give them on the CPU"),
        (given.is_nested, "nested", "pad them to one shape"),
        (given.is_quantized, "quantized", "give them as dequantize()"),
        (given.layout != torch.strided, "sparse", "give them as to_dense()"),
    ):
        if is_odd:
            raise ValueError(f"{name} are {kind}; {instead}")
    try:
        return given.to("cpu", copy=True)
    except RuntimeError as error:  # there is not enough memory
        raise ValueError(f"{name} of shape {tuple(given.shape)} cannot be copied ({reason(error)})") from error


def _dtype(given: Any) -> str:
    return str(given.dtype).removeprefix("torch.")


def _meaning(labels: Tensor) -> str:
    if labels.is_floating_point():
        return f"real-valued targets, {labels.shape[1]} each,"
    if labels.dtype == torch.bool:
        return f"{labels.shape[1]} answers each"
    return "classes" if labels.ndim == 1 else f"classes at {labels.shape[1]} positions"


def _kind(values: Tensor) -> str:
    return f"{_dtype(values)} of shape {tuple(values.shape[1:])}"
