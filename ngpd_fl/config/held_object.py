"""Objects of a program in a configuration: a network, a data set or index lists that no file names.

A section holds the object itself beside the name under which it is recorded, ``object:NAME``. A recorded configuration
has only the name, and needs the object again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, PrivateAttr

from ngpd_fl.config.errors import InputError

_PREFIX = "object:"


@dataclass(frozen=True, eq=False)
class HeldObject:
    """An object in a section; equal to itself only, since tensors do not compare.

    Attributes:
        value: the object.
    """

    value: Any


class ObjectSection(BaseModel):
    """Base of sections that may hold an object in place of something that a file names."""

    _held: HeldObject | None = PrivateAttr(None)

    @property
    def held(self) -> HeldObject | None:
        """The object; None where a file names what is meant, or the object has to be given again."""
        return self._held

    def holding(self, value: Any, **recorded: Any) -> Self:
        """Return the section with an object, and with the keys that record it."""
        section = self.model_copy(update=recorded)
        section._held = HeldObject(value)
        return section


def is_object_name(name: str) -> bool:
    """Return whether a name stands for an object: ``object:NAME``."""
    return name.startswith(_PREFIX)


def object_name(value: Any) -> str:
    """Return the name under which an object is recorded: that of a function or a class, or of its own class."""
    if isinstance(value, Sequence):
        value = value[0] if len(value) else value
    name = getattr(value, "__name__", type(value).__name__)
    return _PREFIX + re.sub(r"\W", "", str(name))


def require_object(held: HeldObject | None, key: str, name: str, keyword: str) -> Any:
    """Return a section's object; raise ``InputError`` where it has to be given again.

    Args:
        held: the object of the section.
        key: the configuration's key that records it.
        name: under which it is recorded.
        keyword: that gives it, of ``run`` and its like.
    """
    if held is None:
        raise InputError(
            f"{key}: {name} is recorded for an object of a Python program; give it again as {keyword}=..., which "
            "run, resume and evaluate_saved take"
        )
    return held.value
