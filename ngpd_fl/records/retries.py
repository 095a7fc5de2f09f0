"""Eigendecompositions that failed at first, as runs record them."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ngpd_fl.config import InputError

Retries = dict[str, dict[str, int]]
"""Layer and factor -> remedy of a failed decomposition -> number of times, and the factor's ``width``."""

_FORM = TypeAdapter(Retries, config=ConfigDict(strict=True))


def checked_retries(counts: Any) -> Retries:
    """Return counts that another process recorded; raise ``InputError`` if they are malformed."""
    try:
        retries = _FORM.validate_python(counts)
    except ValidationError as error:
        raise InputError("decomposition_retries: damaged (not a table of counts)") from error
    if not all("width" in counts for counts in retries.values()):
        raise InputError("decomposition_retries: damaged (no width)")
    return retries
