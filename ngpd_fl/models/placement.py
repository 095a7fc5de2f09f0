"""The torch devices and the dtype of a run."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ngpd_fl.config import Config, InputError

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Torch's types by their names in ``engine.dtype``."""


def pick_devices(config: Config) -> tuple[torch.device, ...]:
    """Return the devices that ``engine.device`` names; raise ``InputError`` where there is no such GPU."""
    wanted = config.engine.device.split(",")
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)]
    known = ["auto", "cpu", *(["cuda", *gpus] if gpus else [])]
    if missing := [name for name in wanted if name not in known]:
        raise InputError(f"engine.device: {missing[0]} is not available here; allowed: {', '.join(known)}")
    if wanted == ["cpu"] or not gpus:
        return (torch.device("cpu"),)
    return tuple(
        torch.device(name) if name in gpus else torch.device("cuda", torch.cuda.current_device()) for name in wanted
    )


def synchronize(devices: Iterable[torch.device]) -> None:
    """Wait until GPUs have done all that they were given."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
