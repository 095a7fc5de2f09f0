"""Validation of a user's arrays, and their conversion into tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.data.classes import RENUMBER
from ngpd_fl.data.dataset import Split


def split_of(name: str, inputs: Any, labels: Any) -> Split:
    """Return a split of inputs uint8 or floating-point ``[M, ...]`` and of classes or real-valued targets.

    Floating-point numbers keep their type, so that nothing is lost before they are standardized.

    Args:
        name: the split's name; errors call the arrays ``NAME_inputs`` and ``NAME_labels``.
        inputs: a tensor or a NumPy array ``[M, ...]``.
        labels: likewise, integers ``[M]`` from 0 or floating-point targets ``[M]`` or ``[M, T]``.

    Raises:
        ValueError: they are something else; the message is one line.
    """
    examples, targets = _inputs(inputs, f"{name}_inputs"), _labels(labels, f"{name}_labels")
    if len(examples) != len(targets):
        raise ValueError(f"{len(examples)} {name}_inputs but {len(targets)} {name}_labels")
    return Split(examples, targets)


def check_alike(one: Split, other: Split, prefixes: tuple[str, str] = ("train_", "test_")) -> None:
    """Raise ``ValueError`` where two splits differ in their shapes, or one has bytes or classes and the other not."""
    first, second = prefixes
    bytes_of_one, bytes_of_other = (split.inputs.dtype == torch.uint8 for split in (one, other))
    if one.inputs.shape[1:] != other.inputs.shape[1:] or bytes_of_one != bytes_of_other:
        raise ValueError(f"{first}inputs are {_kind(one.inputs)} but {second}inputs {_kind(other.inputs)}")
    if one.labels.shape[1:] != other.labels.shape[1:] or one.labels.dtype != other.labels.dtype:
        raise ValueError(f"{first}labels are {_meaning(one.labels)} but {second}labels {_meaning(other.labels)}")


def _inputs(given: Any, name: str) -> Tensor:
    """Return inputs as a uint8 or floating-point tensor ``[M, ...]`` of our own."""
    values = _tensor(given, name)
    if values.dtype != torch.uint8 and not values.is_floating_point():
        raise ValueError(
            f"{name} are {_dtype(given)}; expected a floating-point type, taken as it is, or uint8, divided by 255; "
            "astype('float64') converts measurements, and token ids, which the network turns back by .long()"
        )
    if values.ndim < 2 or values.numel() == 0:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (examples, ...), none of them 0")
    if values.itemsize < 4 and values.is_floating_point():
        values = values.to(torch.float32)  # exact; NumPy does not know all of the small types
    _check_finite(values, name)
    return values


def _labels(given: Any, name: str) -> Tensor:
    """Return labels as a tensor of our own: classes int64 ``[M]``, or real-valued targets float64 ``[M, T]``."""
    values = _tensor(given, name, f"classes are integers: {RENUMBER}")
    if values.is_floating_point():
        if values.ndim not in (1, 2) or values.numel() == 0:
            raise ValueError(f"{name} have shape {tuple(values.shape)}; expected (examples,) or (examples, targets)")
        _check_finite(values, name)
        return values.double().reshape(len(values), -1)
    if values.is_complex() or values.dtype == torch.bool:
        hint = "; labels.astype(int) makes two classes of them" if values.dtype == torch.bool else ""
        raise ValueError(f"{name} are {_dtype(given)}; expected integers (classes) or floating-point (targets){hint}")
    if values.ndim != 1:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected one integer per example, (examples,)")
    if values.dtype == torch.uint64 and len(values) and int(values.numpy().max()) >= 2**63:
        raise ValueError(f"{name} go up to {int(values.numpy().max())}; expected classes 0 to C - 1: {RENUMBER}")
    values = values.to(torch.int64)
    if len(values) and int(values.min()) < 0:
        raise ValueError(f"{name} go down to {int(values.min())}; expected classes from 0: {RENUMBER}")
    return values


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
        if given.layout != torch.strided:
            raise ValueError(f"{name} are sparse; give them as to_dense()")
        return given.detach().to("cpu", copy=True)
    if not isinstance(given, np.ndarray):
        raise ValueError(f"{name} are a {type(given).__name__}; expected a tensor or a NumPy array")
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError(f"{name} are masked in part; fill in what is missing or leave these examples out")
    if given.dtype.kind not in "biufc":
        raise ValueError(f"{name} are {given.dtype}; expected numbers: {instead}")
    if given.dtype.kind == "f" and given.dtype.itemsize > 8:
        given = given.astype(np.float64)
    return torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))


def _dtype(given: Any) -> str:
    return str(given.dtype).removeprefix("torch.")


def _meaning(labels: Tensor) -> str:
    return f"real-valued targets, {labels.shape[1]} each," if labels.is_floating_point() else "classes"


def _kind(values: Tensor) -> str:
    return f"{_dtype(values)} of shape {tuple(values.shape[1:])}"
