"""Examples of a Hugging Face ``Dataset`` by its columns: inputs, labels, and owners.

Pictures are decoded from the bytes in the table. A table may come from anyone, so files and addresses that it names in
place of bytes are never opened.
"""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.config.import_paths import reason
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.columns import input_and_label, named_column
from ngpd_fl.data.examples import Examples, input_tensor, stacked

_NUMBERS = re.compile(r"(u?int|float|bool)\d*$")
"""Types of values that are numbers."""

_LARGEST = 1024
"""Pixels of an image in each direction, as of images in folders: a few bytes may stand for many pixels."""


def is_table(given: Any) -> bool:
    """Return whether an object is a Hugging Face ``Dataset``: whoever has one has loaded the library."""
    library = sys.modules.get("datasets")
    return isinstance(given, getattr(library, "Dataset", ()))


def has_transform(table: Any) -> bool:
    """Return whether a table's examples come through a function (``with_transform``), not as they lie in it."""
    return bool(table.format["type"] == "custom")


def table_examples(table: Any, name: str, config: DataConfig) -> Examples:
    """Return the examples of a table.

    Args:
        table: a ``datasets.Dataset``.
        name: of the split, for errors.
        config: names the columns, or leaves it to find the obvious ones.

    Raises:
        ValueError: there is no such column, or it holds something else; the message is one line.
    """
    columns = list(table.column_names)
    pictures, classes = (
        [column for column in columns if _type(table, column) == kind] for kind in ("Image", "ClassLabel")
    )
    inputs, label = input_and_label(columns, config, pictures, classes)
    owners = None
    if config.node_column is not None:
        owners = _owners(table, named_column("node_column", config.node_column, columns))
    return Examples(_inputs(table, inputs, f"{name}_inputs"), _labels(table, label, f"{name}_labels"), owners)


def _type(table: Any, column: str) -> str:
    return type(table.features[column]).__name__


def _values(table: Any, column: str) -> Any:
    """Return a column ``[M, ...]`` of numbers as NumPy holds it."""
    if (odd := _odd_kind(table.features[column])) is not None:
        raise ValueError(f"column {column!r} holds {odd}; expected numbers, or images as inputs")
    try:
        values = np.asarray(table.select_columns([column]).with_format("numpy")[:][column])
    except Exception as error:  # the library takes it for granted that every example has a value
        raise ValueError(f"column {column!r} cannot be read ({reason(error)})") from error
    if values.dtype.kind not in "biuf":
        raise ValueError(f"column {column!r} holds values of several shapes or none; expected one in each row")
    return values


def _odd_kind(feature: Any) -> str | None:
    """Return what a column holds, also in lists, if these are no numbers: to read it may open files that it names."""
    kind = type(feature).__name__
    if kind in ("List", "LargeList", "Sequence"):
        return kind if _odd_kind(feature.feature) else None
    if kind == "ClassLabel" or ((kind == "Value" or kind.startswith("Array")) and _NUMBERS.match(feature.dtype)):
        return None
    if kind == "Value":
        return "texts" if "string" in feature.dtype else str(feature.dtype)
    return kind


def _inputs(table: Any, column: str, name: str) -> Any:
    if _type(table, column) == "Image":
        return stacked(_pictures(table, column), name)
    values = _values(table, column)
    return values[:, None] if values.ndim == 1 else values


def _labels(table: Any, column: str, name: str) -> Any:
    if _odd_kind(table.features[column]) == "texts":
        raise ValueError(f"column {column!r} holds texts; table.class_encode_column({column!r}) numbers them as {name}")
    return _values(table, column)


def _owners(table: Any, column: str) -> Tensor:
    """Return the number of each example's owner, by the order of their names, int64 ``[M]``."""
    names = table.select_columns([column]).with_format(None)[:][column] if _type(table, column) == "Value" else [None]
    kinds = {type(name) for name in names}
    if kinds not in ({str}, {int}):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"column {column!r} holds {names}; an owner should be a text or a whole number")
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return torch.tensor([numbers[name] for name in names])


def _pictures(table: Any, column: str) -> list[Tensor]:
    import datasets  # slow to import
    from PIL import Image

    stored = table.select_columns([column]).cast_column(column, datasets.Image(decode=False)).with_format(None)
    pictures = []
    for index, picture in enumerate(stored[column]):
        content = None if picture is None else picture.get("bytes")
        if content is None:
            raise ValueError(f"column {column!r} holds no bytes of image {index}; files that it names are not opened")
        try:
            with Image.open(io.BytesIO(content)) as image:
                if max(image.size) > _LARGEST:
                    raise ValueError(f"{image.size[0]} x {image.size[1]} pixels; allowed: {_LARGEST} each way")
                pictures.append(input_tensor(image))
        except Exception as error:  # Pillow's decoders raise many kinds
            raise ValueError(f"image {index} of column {column!r} cannot be read ({reason(error)})") from error
    return pictures
