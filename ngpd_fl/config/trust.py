"""Code that a recorded configuration names: it runs only for who says that they trust it."""

from __future__ import annotations

from pathlib import Path

from ngpd_fl.config.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.importing import is_import_path

_TORCHVISION = "torchvision:"
"""A name in front of a network of torchvision's, which is no import path."""


def require_trust(config: Config, where: Path, trust_code: bool) -> None:
    """Raise ``InputError`` where a recorded configuration names code that nobody has said to trust.

    Whoever makes a folder chooses what its configuration names. One that the user gives by themselves, as a file or by
    keys, is theirs and needs no such word. Files that it names are only read, and none of their formats holds code.

    Args:
        config: what was recorded.
        where: its file or folder, for the error.
        trust_code: whether the user has said so.
    """
    named = {"model.name": config.model.name, "model.loss": config.model.loss, "data.dataset": config.data.dataset}
    code = [
        f"{key} = {name}"
        for key, name in named.items()
        if is_import_path(name) and not (key == "model.name" and name.startswith(_TORCHVISION))
    ]
    if code and not trust_code:
        raise InputError(
            f"{where}: its configuration names code that would be run ({', '.join(code)}); if you trust it, "
            "allow it by --trust-code (in Python trust_code=True)"
        )
