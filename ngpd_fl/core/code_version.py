"""A fingerprint of the project's own code: processes that exchange messages must agree on it, as must a resumed run."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGES = ("ngpd_fl", "strategies", "topologies")
"""Names of the project's packages, which lie side by side."""

ROOT = Path(__file__).parents[2]
"""The folder that holds the packages this process runs, in a checkout or installed."""


def code_version() -> str:
    """Return a fingerprint of the code that this process runs: where it is the same, so are results."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
