"""The fingerprint of the code that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ngpd_fl.core.code_version import code_version
from ngpd_fl.flower.launcher.app_bundle import write_app


def version_in(folder: Path) -> str:
    """Return the fingerprint that a process with this folder's code has."""
    script = f"import sys; sys.path.insert(0, {str(folder)!r}); import ngpd_fl.core.code_version as module; "
    script += "print(module.code_version(), module.__file__)"
    version, file = subprocess.check_output([sys.executable, "-P", "-c", script], text=True).split()
    assert Path(file).is_relative_to(folder)
    return version


def test_a_copy_has_the_fingerprint_of_its_original_and_any_change_another(tmp_path: Path) -> None:
    app = write_app(tmp_path)
    assert version_in(app) == code_version()
    versions = {code_version()}
    for package in ("ngpd_fl", "strategies", "topologies"):
        with (app / package / "__init__.py").open("a") as file:
            file.write("\n")
        versions.add(version_in(app))
    assert len(versions) == 4
