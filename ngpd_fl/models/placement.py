"""The torch device and the dtype of a run."""

from __future__ import annotations

import torch

from ngpd_fl.config import Config, InputError

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Torch's types by their names in ``engine.dtype``."""


def pick_device(config: Config) -> torch.device:
    """Return the device that ``engine.device`` names; raise ``InputError`` where there is no such GPU."""
    wanted = config.engine.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("engine.device: cuda is not available here; allowed: auto, cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
