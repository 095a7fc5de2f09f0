"""Safe reading of tensors from ``.safetensors`` files of any origin, for the whole project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safetensors import safe_open

from ngpd_fl.config import InputError
from ngpd_fl.config.text_files import require_file

if TYPE_CHECKING:
    from torch import Tensor


class Saved(NamedTuple):
    """Content of a file.

    Attributes:
        tensors: by name, on the CPU.
        metadata: texts by name.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_tensors(path: Path) -> Saved:
    """Return a file's tensors. No code runs, and memory use is bounded by the size of the file.

    Raises:
        InputError: the file cannot be read; one line names it.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            return Saved(tensors, file.metadata() or {})
    except Exception as error:  # a damaged header can fail anywhere in the library, and in torch
        raise InputError(f"{path}: cannot be read as a .safetensors file ({error})") from error
