"""Where a study's figures come from: when, on which machine, with which versions of what."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from ngpd_fl.core import machine
from ngpd_fl.core.code_version import code_version
from ngpd_fl.records import RunFolder


def provenance(runs: Path) -> dict[str, Any]:
    """Return what is to be known of the runs in a folder besides their configurations.

    The environments are those that the runs have recorded themselves, each once; more than one means that the code, a
    version or the machine has changed on the way.
    """
    environments: dict[str, tuple[dict[str, Any], int]] = {}
    for path in sorted(runs.glob("*/environment.json")):
        found = RunFolder(path.parent).environment()
        kept = {name: value for name, value in found.items() if name not in ("config", "data", "resumed")}
        text = json.dumps(kept, sort_keys=True)
        environments[text] = (kept, environments.get(text, (kept, 0))[1] + 1)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"processor": machine.processor(), "cores": machine.cores(), "memory": machine.memory()},
        "platform": platform.platform(),
        "commit": _commit(),
        "code": code_version(),
        "environments": [{**kept, "runs": count} for kept, count in environments.values()],
    }


def _commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` where files differ from it; None outside of a repository."""
    root = Path(__file__).parents[2]
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
