"""A file of tensors that are slow to make and cheap to keep; written as safetensors, so reading runs no code."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from ngpd_fl.config import InputError
from ngpd_fl.records import write_tensors
from ngpd_fl.records.files import read_tensors

logger = logging.getLogger(__name__)

Tensors = dict[str, Tensor]


def cached_tensors(
    paths: Sequence[Path], fingerprint: str, make: Callable[[], Tensors], fits: Callable[[Tensors], bool]
) -> Tensors:
    """Return what ``make`` returns, from a file of an earlier call where there is one.

    A file that is damaged or that was made from something else is replaced. Where no file can be written, the tensors
    are made each time.

    Args:
        paths: where the file may lie; it is written to the first that allows it.
        fingerprint: what the tensors are made from; another fingerprint makes the file stale.
        make: makes the tensors.
        fits: whether tensors of a file can be what ``make`` makes, by their names, shapes and types.
    """
    for path in paths:
        tensors = _read(path, fingerprint)
        if tensors is not None and fits(tensors):
            return tensors
    tensors = make()
    if not any(_write(path, fingerprint, tensors) for path in paths):
        logger.warning("no cache can be written to %s", " or ".join(str(path) for path in paths))
    return tensors


def _read(path: Path, fingerprint: str) -> Tensors | None:
    try:
        tensors, metadata = read_tensors(path)
        is_whole = metadata.get("fingerprint") == fingerprint and metadata.get("checksum") == _checksum(tensors)
    except (InputError, TypeError):  # also of a type that NumPy does not have
        return None
    return tensors if is_whole else None


def _write(path: Path, fingerprint: str, tensors: Tensors) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, {"fingerprint": fingerprint, "checksum": _checksum(tensors)})
    except (OSError, SafetensorError):
        return False
    return True


def _checksum(tensors: Tensors) -> str:
    """Return a CRC-32 of the bytes: safetensors itself notices a file that is too short, but no flipped bits."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].numpy().data, crc)
    return f"{crc:08x}"
