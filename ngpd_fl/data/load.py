"""Loading of the data set that the configuration names, with its splits and normalization."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pkgutil import resolve_name

import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import HUB
from ngpd_fl.config.sections import DATASETS, DataConfig
from ngpd_fl.data.custom import read_custom
from ngpd_fl.data.dataset import Dataset, RawDataset, Split
from ngpd_fl.data.fields import Fields
from ngpd_fl.data.task import Regression, Task
from ngpd_fl.data.validation import hold_out

logger = logging.getLogger(__name__)

_AT_ONCE = 1024
"""Examples; bounds the memory."""

_MERGED = 1e-3
"""Of the range of a feature: an error of rounding above which its values count as merged."""


def load_dataset(
    config: DataConfig, seed: int, trained_on: DataConfig | None = None, dtype: torch.dtype = torch.float32
) -> Dataset:
    """Read the data set that ``config`` names.

    Args:
        config: the data set, its folder, and the share of validation examples.
        seed: keys the choice of the validation examples. It does not affect the test examples.
        trained_on: the data set of the models that are to be evaluated on this one, where targets are real-valued: what
            its training examples say of unit, bins and scale holds here as well. None: this one's own do.
        dtype: what inputs and targets are rounded to once they are scaled; see ``normalized``.

    Raises:
        InputError: the data are missing or cannot be read; the message names the place. Or ``config`` asks for an
            image operation that the inputs do not allow, or the two data sets do not match.
    """
    raw = _read(config)
    check_inputs(config, raw.train.inputs, raw.fields)
    if isinstance(raw, Dataset):
        return replace(raw, name=config.dataset)
    scale = raw
    if trained_on is not None and raw.task is None:
        scale = read_raw(trained_on)
        _check_alike(config, raw, trained_on, scale)
        raw = replace(raw, mean=scale.mean, std=scale.std)
    train_labels, test_labels, task = learned(raw, scale)
    strata = task.strata(train_labels).numpy()
    kept, held = map(torch.from_numpy, hold_out(strata, config.validation_fraction, seed))

    def chosen(split: Split, labels: Tensor, rows: Tensor) -> Split:
        inputs = normalized(split.inputs[rows], raw.white, raw.mean, raw.std, dtype)
        return Split(inputs, labels[rows].to(dtype) if labels.is_floating_point() else labels[rows])

    try:
        return Dataset(
            name=config.dataset,
            train=chosen(raw.train, train_labels, kept),
            validation=chosen(raw.train, train_labels, held),
            test=chosen(raw.test, test_labels, torch.arange(len(raw.test))),
            task=task,
            train_index=raw.train_index_of(kept),
            owners=None if raw.owners is None else raw.owners[kept],
            fields=raw.fields,
        )
    except ValueError as error:
        raise InputError(f"data.dataset: {config.dataset}: {error}") from error


def read_raw(config: DataConfig) -> RawDataset:
    """Return the data set as stored on disk. Raises the errors of ``load_dataset``."""
    raw = _read(config)
    if isinstance(raw, Dataset):
        raise InputError(f"data.dataset: {config.dataset} is a Dataset, whose inputs are scaled; give it as arrays")
    return raw


def _read(config: DataConfig) -> RawDataset | Dataset:
    reader = "ngpd_fl.data.hub:read_hub" if config.dataset.startswith(HUB) else DATASETS.get(config.dataset)
    raw: RawDataset | Dataset = (read_custom if reader is None else resolve_name(reader))(config)
    return raw


def refuse(config: DataConfig) -> RawDataset:
    """Raise ``InputError``: only ``read_node_folders`` reads the nodes' own folders."""
    raise InputError(f"data.dataset: {config.dataset} lies at its nodes; only a run of these nodes can read it")


def learned(raw: RawDataset, scale: RawDataset) -> tuple[Tensor, Tensor, Task]:
    """Return the labels of training and test as they are learned, in the scale of a data set, and the task."""
    if raw.task is not None:
        return raw.train.labels, raw.test.labels, raw.task
    task = Regression.of(scale.train.labels)
    return task.standardized(raw.train.labels), task.standardized(raw.test.labels), task


def _check_alike(config: DataConfig, raw: RawDataset, trained_on: DataConfig, own: RawDataset) -> None:
    """Raise ``InputError`` where inputs or targets are not of the shape of those that models were trained on."""
    for name in ("inputs", "labels"):
        shape, wanted = (tuple(getattr(data.train, name).shape[1:]) for data in (raw, own))
        if shape != wanted:
            raise InputError(
                f"data.dataset: {config.dataset} has {name} of shape {shape}, but {trained_on.dataset}, on which the "
                f"models were trained, of {wanted}"
            )


def check_inputs(config: DataConfig, inputs: Tensor, fields: Fields | None = None) -> None:
    """Raise ``InputError`` where what is wanted of the images cannot be done to inputs of this shape and type."""
    shape, is_ids = tuple(inputs.shape[1:]), inputs.dtype == torch.int64
    for key in ("crop", "flip", "rotation", "noise"):
        if getattr(config, key) and (is_ids or fields is not None):
            kind = "token ids" if fields is None else "several"
            raise InputError(f"data.{key}: the inputs of {config.dataset} are {kind}; leave it at its default")
        if getattr(config, key) and len(shape) != 3 and key != "noise":
            raise InputError(f"data.{key}: needs images [C, H, W]; the inputs of {config.dataset} have shape {shape}")
    if config.crop and config.crop >= min(shape[1:]):
        raise InputError(f"data.crop: {config.crop} pixels is all of an image {shape}; allowed: below {min(shape[1:])}")


def normalized(inputs: Tensor, white: int, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Return inputs ``[M, ...]`` of a reader as a network gets them; see ``RawDataset``.

    Token ids stay what they are. Bytes are scaled in float32, in which all 256 stay apart, whatever
    ``dtype`` is. All other inputs are scaled in float64 and then rounded to ``dtype``.

    Raises:
        ValueError: a value is too large for ``dtype``.
    """
    if inputs.dtype == torch.int64:
        return inputs.clone()
    of_channel = (-1, *[1] * (inputs.ndim - 2))
    if inputs.dtype == torch.uint8:
        mean, std = mean.float().view(of_channel), std.float().view(of_channel)
        return inputs.to(torch.float32, copy=True).div_(white).sub_(mean).div_(std)
    result = torch.empty(inputs.shape, dtype=dtype)
    if not len(inputs):
        return result
    low, high = (torch.full(inputs.shape[1:], sign * torch.inf, dtype=torch.float64) for sign in (1, -1))
    error = torch.zeros(inputs.shape[1:], dtype=torch.float64)
    for start in range(0, len(inputs), _AT_ONCE):
        given, scaled = (values[start : start + _AT_ONCE] for values in (inputs, result))
        exact = (given.double() / white - mean.view(of_channel)) / std.view(of_channel)
        scaled.copy_(exact)
        if not scaled.isfinite().all():
            raise ValueError(f"inputs have values that are too large for {str(dtype).removeprefix('torch.')}")
        low, high = torch.minimum(low, exact.amin(0)), torch.maximum(high, exact.amax(0))
        error = torch.maximum(error, (scaled.double() - exact).abs().amax(0))
    noise = 1e-14 * torch.maximum(low.abs(), high.abs())  # what computing in float64 adds to equal values
    if (error > torch.maximum(_MERGED * (high - low), noise)).logical_and(high - low > noise).any():
        _say_that_inputs_merge(str(dtype).removeprefix("torch."))
    return result


@cache  # once, however many splits and nodes there are
def _say_that_inputs_merge(dtype: str) -> None:
    logger.warning(
        "some inputs vary too little, for how large they are, to be told apart in %s; subtract their mean and divide "
        "by their standard deviation, or set engine.dtype=float64",
        dtype,
    )
