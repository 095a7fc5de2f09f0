"""The Flower app of the code that this process runs, from a checkout or installed."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import tomli_w

from ngpd_fl.core.code_version import PACKAGES, ROOT
from ngpd_fl.flower.run_config import every_key

COMPONENTS = {"serverapp": "ngpd_fl.flower.server.app:app", "clientapp": "ngpd_fl.flower.client.app:app"}


def write_app(folder: Path) -> Path:
    """Write an app that ``flwr run`` accepts into a folder without one; return the folder."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    app = {"publisher": "ngpd-fl", "components": COMPONENTS, "config": dict.fromkeys(every_key(), "")}
    project = {"name": "ngpd-fl", "version": version("ngpd-fl"), "description": "", "license": "Apache-2.0"}
    (folder / "pyproject.toml").write_text(tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}))
    return folder
