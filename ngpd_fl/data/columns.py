"""The columns of inputs and labels among those of a table, or of an example that is a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from ngpd_fl.config.sections import DataConfig

_LABELS = ("label", "labels", "target", "targets", "character", "y")
"""Names of the column of labels, where no type tells it."""


def input_and_label(
    columns: Sequence[str], config: DataConfig, pictures: Sequence[str] = (), classes: Sequence[str] = ()
) -> tuple[str, str]:
    """Return the column of inputs and that of labels.

    Args:
        columns: all columns.
        config: names the two, or leaves it to find the obvious ones.
        pictures: the columns whose type is that of images.
        classes: the columns whose type is that of classes.

    Raises:
        ValueError: there is no such column, or several could be meant; the message is one line.
    """
    likely = classes or [column for column in _LABELS if column in columns]
    label = named_column("label_column", config.label_column, columns, likely)
    others = [column for column in columns if column not in (label, config.node_column)]
    pictures = [column for column in pictures if column in others]
    return named_column("input_column", config.input_column, columns, pictures or others), label


def named_column(key: str, given: str | None, columns: Sequence[str], likely: Sequence[str] = ()) -> str:
    """Return the column that is given or, if it is the only likely one, found.

    Raises:
        ValueError: there is no such column, or several could be meant; the message is one line.
    """
    if given is not None and given not in columns:
        raise ValueError(f"there is no column {given!r} (data.{key}); its columns are {', '.join(columns)}")
    if given is None and len(likely) != 1:
        raise ValueError(f"data.{key} should name one of its columns: {', '.join(columns)}")
    return likely[0] if given is None else given
