"""Import of objects by path: ``package.module:factory``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.held_object import is_object_name

TORCHVISION = "torchvision:"
"""Prefix of torchvision's networks, whose names are no import paths."""

HUB = "hf:"
"""Prefix of the data sets of the Hugging Face hub, whose names are no import paths."""


def is_import_path(text: str) -> bool:
    """Return whether ``text`` has the form ``package.module:name``; names of objects and of the hub have not."""
    module, colon, name = text.partition(":")
    return (
        not is_object_name(text)
        and not text.startswith(HUB)
        and bool(colon)
        and name.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    )


def import_object(path: str, key: str) -> Any:
    """Return the object of an import path; modules are found in the working folder as well.

    Args:
        path: ``package.module:name``.
        key: the configuration's key that holds the path.

    Raises:
        InputError: it cannot be imported.
    """
    from ngpd_fl.core.isolation import own_randomness  # it loads torch, which checking a name does not need

    module, _, name = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        working_folder_last()
    try:
        with own_randomness(0):  # a module that seeds or draws as it is imported does so the first time only
            imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a script may end the process
        raise InputError(f"{key}: {path!r} cannot be imported ({reason(error)})") from error
    if not hasattr(imported, name):
        where = getattr(imported, "__file__", None) or f"Python's own {module}"
        raise InputError(f"{key}: {path!r} cannot be imported (AttributeError: {where} has no {name})")
    return getattr(imported, name)


def working_folder_last() -> None:
    """Search modules in the working folder last, so that no ``datasets.py`` there hides a library."""
    here = str(Path.cwd())
    sys.path[:] = [*(path for path in sys.path if path != here), here]


def reason(error: BaseException) -> str:
    """Return an exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
