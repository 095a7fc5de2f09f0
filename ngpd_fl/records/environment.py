"""Environment of a run, on which its result depends besides its configuration: versions, code, device, threads."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ngpd_fl.config.extras import installed_version
from ngpd_fl.core.code_version import code_version
from ngpd_fl.records.versions import RECORDS

if TYPE_CHECKING:
    import torch

_PACKAGES = ("ngpd-fl", "torch", "torchvision", "numpy", "networkx", "flwr", "flwr-datasets", "scikit-learn")


OF_ONE_RUN = ("data", "partition", "model", "constants")
"""Fingerprints in the environment that differ from run to run: of data, partition, start, and frozen parts."""


def describe_environment(devices: Sequence[torch.device]) -> dict[str, Any]:
    """Return versions, the code's fingerprint, the devices' names and torch's threads, for ``environment.json``."""
    import torch

    on_gpus = devices[0].type == "cuda"
    names = map(torch.cuda.get_device_name, devices) if on_gpus else [platform.processor() or platform.machine()]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: installed_version(package) for package in _PACKAGES},
        "code": code_version(),
        "records": RECORDS,
        "device": devices[0].type,
        "device_name": ", ".join(names),
        "threads": torch.get_num_threads(),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences of two environments that may change a result, as text, e.g. ``torch 2.10.0 -> 2.11.0``."""
    words = []
    for name in ("python", *_PACKAGES, "device", "device_name", "threads", "code", *OF_ONE_RUN):
        old, new = (
            environment.get("packages", {}).get(name) if name in _PACKAGES else environment.get(name)
            for environment in (before, now)
        )
        if old != new:
            words.append(f"{name} {old} -> {new}")
    return words
