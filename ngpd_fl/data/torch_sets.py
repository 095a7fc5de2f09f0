"""Examples of a map-style torch ``Dataset``, read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ngpd_fl.config.import_paths import reason
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.columns import input_and_label
from ngpd_fl.data.examples import Examples, input_tensor, stacked


def torch_examples(given: Dataset[Any], name: str, config: DataConfig) -> Examples:
    """Return the examples of a set; each is read once.

    Its items begin with input and label, or are dictionaries that hold them under the names of columns.

    Args:
        given: the set.
        name: of the split, for errors.
        config: names the two columns, or leaves it to find the obvious ones.

    Raises:
        ValueError: an example cannot be read, or differs in shape; the message is one line.
    """
    if isinstance(given, TensorDataset):
        if len(given.tensors) != 2:
            raise ValueError(f"{name} has {len(given.tensors)} tensors; expected inputs and labels")
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
                inputs.append(input_tensor(example))
                labels.append(torch.as_tensor(label))
            except (Exception, SystemExit) as error:  # a script may end the process
                raise ValueError(f"example {index} of the {kind} cannot be read ({reason(error)})") from error
    return Examples(stacked(inputs, f"{name}_inputs"), stacked(labels, f"{name}_labels"))


def _example(item: Any, config: DataConfig) -> tuple[Any, Any]:
    """Return input and label of an item."""
    if isinstance(item, Mapping):
        inputs, labels = input_and_label(list(item), config)
        return item[inputs], item[labels]
    example, label, *_ = item
    return example, label
