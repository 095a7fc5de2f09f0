"""The Flower app of the code that this process runs, be it a checkout or installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import tomli_w

from ngpd_fl.flower.run_config import every_key

PACKAGES = ("ngpd_fl", "strategies", "topologies")
COMPONENTS = {"serverapp": "ngpd_fl.flower.server.app:app", "clientapp": "ngpd_fl.flower.client.app:app"}


def write_app(folder: Path) -> Path:
    """Write an app that ``flwr run`` takes into a folder that has none of it; return the folder."""
    for package in PACKAGES:
        source = Path(__file__).parents[2] / package
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    app = {"publisher": "ngpd-fl", "components": COMPONENTS, "config": dict.fromkeys(every_key(), "")}
    project = {"name": "ngpd-fl", "version": "0.1.0", "description": "", "license": "Apache-2.0"}
    (folder / "pyproject.toml").write_text(tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}))
    return folder
