"""The project's own code in a few letters: processes that exchange messages must agree on it, as must a resumed run."""

from __future__ import annotations

import hashlib
from pathlib import Path


def code_version() -> str:
    """Return a fingerprint of the code that this process runs: where it is the same, so are results."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("ngpd_fl", "strategies", "topologies"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
