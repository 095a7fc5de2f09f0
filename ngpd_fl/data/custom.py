"""A user's own data set: the arrays that a function, named by its import path, returns."""

from __future__ import annotations

import torch

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import reason
from ngpd_fl.config.installed import own_object
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.arrays import check_alike, packed, split_of, task_of
from ngpd_fl.data.dataset import RawDataset
from ngpd_fl.data.task import column_statistics

PARTS = ("train_inputs", "train_labels", "test_inputs", "test_labels")


def read_custom(config: DataConfig) -> RawDataset:
    """Call the user's ``factory()``, which returns ``(train_inputs, train_labels, test_inputs, test_labels)``.

    Each is a tensor or a NumPy array. Inputs are ``[M, ...]``, images ``[M, C, H, W]``: floating-point ones are
    taken as they are, uint8 ones are scaled to [0, 1], other integers are token ids. Or several inputs, a dictionary or
    a tuple of such arrays, which become the network's arguments by name or by position. Labels are integers from 0,
    ``[M]``; the largest, plus one, is the number of classes, most of which have to occur. Or a class at each position,
    ``[M, T]``, ``IGNORE_INDEX`` at padding. Or the answers of multi-label classification, ``[M, C]``: bool, or 0 and 1
    with ``data.task = "multi-label"``. Or floating-point targets, ``[M]`` or ``[M, T]``, which makes it regression:
    targets, and inputs that are vectors ``[M, d]``, are then standardized by the training examples. The factory is to
    return the same at every call, since runs are repeated by it; torch's, NumPy's and Python's own generators start
    from the same seed each time.

    Raises:
        InputError: the factory cannot be imported, fails, or returns something else; one line says what.
    """
    path = config.dataset
    factory = own_object(path, "datasets", "data.dataset")
    try:
        with own_randomness(0):
            returned = factory()
    except (Exception, SystemExit) as error:  # a script may end the process
        raise InputError(f"data.dataset: {path}() failed ({reason(error)})") from error
    if not isinstance(returned, tuple | list) or len(returned) != len(PARTS):
        given = f"{len(returned)} values" if isinstance(returned, tuple | list) else type(returned).__name__
        raise InputError(f"data.dataset: {path} returned {given}; expected ({', '.join(PARTS)})")
    try:
        (fields, train_rows), (test_fields, test_rows) = packed("train", returned[0]), packed("test", returned[2])
        if fields != test_fields:
            raise ValueError("train_inputs and test_inputs are not the same inputs, of the same shapes and types")
        train, test = split_of("train", train_rows, returned[1]), split_of("test", test_rows, returned[3])
        check_alike(train, test)
        train, test, task = task_of(path, train, test, config.task == "multi-label")
    except ValueError as error:
        raise InputError(f"data.dataset: {path}: {error}") from error
    white = 255 if train.inputs.dtype == torch.uint8 else 1
    mean, std = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    if task is None and fields is None and train.inputs.dtype != torch.int64 and train.inputs.ndim == 2:
        mean, std = column_statistics(train.inputs.double() / white)
    return RawDataset(train, test, task, white, mean, std, fields=fields)
