"""Examples of a map-style torch ``Dataset``."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ngpd_fl.config.import_paths import reason
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.examples import Examples, input_tensor, stacked


def torch_examples(given: Dataset[Any], name: str) -> Examples:
    """Return the examples of a set whose items begin with input and label; each is read once.

    Args:
        given: the set.
        name: of the split, for errors.

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
                example, label, *_ = given[index]
                inputs.append(input_tensor(example))
                labels.append(torch.as_tensor(label))
            except (Exception, SystemExit) as error:  # a script may end the process
                raise ValueError(f"example {index} of the {kind} cannot be read ({reason(error)})") from error
    return Examples(stacked(inputs, f"{name}_inputs"), stacked(labels, f"{name}_labels"))
