"""Provenance of a study's figures: date, machine, code and versions of packages."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from ngpd_fl.core import machine
from ngpd_fl.core.code_version import ROOT, code_version
from ngpd_fl.records import OF_ONE_RUN, RunFolder


def provenance(runs: Path) -> dict[str, Any]:
    """Return the provenance of the runs in a folder, as JSON values.

    Its environments are those that the runs have recorded, each once. Several of them mean that the code, a version or
    the machine has changed during the study.
    """
    environments: dict[str, tuple[dict[str, Any], int]] = {}
    for path in sorted(runs.glob("*/environment.json")):
        environment = RunFolder(path.parent).environment()
        own = ("config", "config_before", "resumed", *OF_ONE_RUN)
        recorded = {name: value for name, value in environment.items() if name not in own}
        text = json.dumps(recorded, sort_keys=True)
        environments[text] = (recorded, environments.get(text, (recorded, 0))[1] + 1)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"processor": machine.processor(), "cores": machine.cores(), "memory": machine.memory()},
        "platform": platform.platform(),
        "commit": _commit(),
        "code": code_version(),
        "environments": [{**recorded, "runs": count} for recorded, count in environments.values()],
    }


def _commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` if files differ from it; None outside a repository."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
