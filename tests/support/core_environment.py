"""An environment of the core's packages alone, as links to those that are installed: no download, no copy."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that some requirements bring, by name, themselves included."""
    found: dict[str, Distribution] = {}
    known, left = set(), [Requirement(text) for text in requirements]
    while left:
        requirement = left.pop()
        if (key := (requirement.name, *sorted(requirement.extras))) in known:
            continue
        known.add(key)
        package = found[canonicalize_name(requirement.name)] = distribution(requirement.name)
        for text in package.requires or ():
            inner = Requirement(text)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                left.append(inner)
    return found


def link_core(folder: Path) -> Path:
    """Fill a folder with what the core's packages hold; return it."""
    folder.mkdir()
    for package in closure(PROJECT["dependencies"]).values():
        for name in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / name).exists():
                (folder / name).symlink_to(Path(str(package.locate_file(name))))
    return folder


def python(packages: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run this project's code with these packages and no others."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}",
        "PYTHONSAFEPATH": "1",
    }
    return subprocess.run([sys.executable, "-S", *words], cwd=cwd, env=environment, capture_output=True, text=True)
