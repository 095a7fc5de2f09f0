"""Examples of a map-style torch ``Dataset``, read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ngpd_fl.config.import_paths import reason
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.columns import input_and_label
from ngpd_fl.data.examples import Examples, input_tensor, stacked


def torch_examples(given: Dataset[Any], name: str, config: DataConfig) -> Examples:
    """Return the examples of a set; each is read once.

    Its items are ``(input, label)``, or dictionaries that hold the two under the names of columns. An input may be
    several, a dictionary or a tuple of arrays.

    Args:
        given: the set.
        name: of the split, for errors.
        config: names the two columns, or leaves it to find the obvious ones.

    Raises:
        ValueError: an example cannot be read, or differs in shape; the message is one line.
    """
    if isinstance(given, TensorDataset):
        if len(given.tensors) != 2:
            raise ValueError(
                f"{name} has {len(given.tensors)} tensors; expected inputs and labels; several inputs: give a "
                "dictionary of arrays, ({'image': ..., 'meta': ...}, labels)"
            )
        return Examples(*given.tensors)
    kind = type(given).__name__
    if isinstance(given, IterableDataset) or not hasattr(given, "__len__"):
        raise ValueError(f"{name} is a {kind} without a length; expected a map-style Dataset")
    inputs, labels = [], []
    with own_randomness(0):  # a set may augment its images
        try:
            indices = range(len(given))
        except Exception as error:
            raise ValueError(f"{name} is a {kind} whose length cannot be had ({reason(error)})") from error
        for index in indices:
            try:
                example, label = _example(given[index], config)
                inputs.append(_by_name(example))
                labels.append(torch.as_tensor(label))
            except (Exception, SystemExit) as error:  # a script may end the process
                raise ValueError(f"example {index} of the {kind} cannot be read ({reason(error)})") from error
    return Examples(_together(inputs, f"{name}_inputs"), stacked(labels, f"{name}_labels"))


def _example(item: Any, config: DataConfig) -> tuple[Any, Any]:
    """Return input and label of an item."""
    if isinstance(item, Mapping):
        inputs, labels = input_and_label(list(item), config)
        return item[inputs], item[labels]
    if not isinstance(item, tuple | list) or len(item) != 2:
        kind = f"{len(item)} parts" if isinstance(item, tuple | list) else f"the type {type(item).__name__}"
        raise ValueError(
            f"it has {kind}; expected (input, label); several inputs: ({{'image': ..., 'meta': ...}}, label) or "
            "((image, meta), label)"
        )
    return item[0], item[1]


def _by_name(example: Any) -> dict[Any, Tensor]:
    """Return an example's inputs by name or position; a single one has the name None."""
    if isinstance(example, Mapping):
        return {key: input_tensor(value) for key, value in example.items()}
    if isinstance(example, tuple | list) and any(isinstance(value, Tensor | np.ndarray) for value in example):
        return {position: input_tensor(value) for position, value in enumerate(example)}
    return {None: input_tensor(example)}


def _together(examples: list[dict[Any, Tensor]], name: str) -> Any:
    """Return inputs as whole arrays have them: one ``[M, ...]``, or a dictionary or a tuple of several."""
    keys = list(examples[0]) if examples else [None]
    for index, example in enumerate(examples):
        if set(example) != set(keys):
            raise ValueError(f"{name}[{index}] has {list(example)}, but the first has {keys}; all should be alike")
    if keys == [None]:
        return stacked([example[None] for example in examples], name)
    arrays = {key: stacked([example[key] for example in examples], f"{name}[{key!r}]") for key in keys}
    return tuple(arrays.values()) if keys == list(range(len(keys))) else arrays
