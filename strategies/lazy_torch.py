"""torch for the algorithms, imported by the first of its functions that runs.

An algorithm and its options are one file, and options are read where nothing is computed: to check a configuration, to
list its keys, to complete a word of the command line. Importing torch takes longer than all of that.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:

    class _LazyModule(ModuleType):
        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self.__name__), name)
            setattr(self, name, value)  # __getattr__ is not called for it again
            return value

    torch = _LazyModule("torch")
    Tensor = Any
    """In annotations only, which nothing evaluates."""

__all__ = ["Tensor", "torch"]
