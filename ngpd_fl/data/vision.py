"""Lazy import of torchvision, with a helpful error if the installation is broken."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

from ngpd_fl.config.errors import InputError


def vision_datasets() -> Any:
    """Return the module ``torchvision.datasets``; see ``vision_module`` for what it raises."""
    return vision_module("torchvision.datasets", "data.dataset", "use data.dataset=digits, which needs none")


def vision_module(name: str, key: str, instead: str) -> Any:
    """Return torchvision's module ``name``, which the configuration's ``key`` asks for.

    Raises:
        InputError: torchvision is missing, or was built for another torch; ``instead`` says what to do without it.
    """
    try:
        return import_module(name)
    except Exception as error:  # a binary built for another torch fails in any way, mostly with RuntimeError
        raise InputError(
            f"{key}: torchvision cannot be imported ({text_of(error)}); installed are torch "
            f"{_version('torch')} and torchvision {_version('torchvision')}: install a torchvision that is made for "
            f"this torch, or {instead}"
        ) from error


def text_of(error: Exception) -> str:
    """Return an error's text on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(none)"
