"""The included study files."""

from __future__ import annotations

import tomllib
from pathlib import Path

_STUDIES = Path(__file__).resolve().parents[2] / "benchmarks" / "studies"


def gallery() -> str:
    """Return each study's title, file and notes."""
    parts = []
    for path in sorted(_STUDIES.glob("*.toml")):
        study = tomllib.loads(path.read_text(encoding="utf-8"))
        parts.append(f"### {study['title']}\n\n`benchmarks/studies/{path.name}`\n\n{study.get('notes', '').strip()}")
    return "\n\n".join(parts)
