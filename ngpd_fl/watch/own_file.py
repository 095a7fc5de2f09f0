"""Files that belong to a watched folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ngpd_fl.config import InputError
from ngpd_fl.config.text_files import require_file


def own_file(path: Path) -> Path:
    """Return a path that leads to a file of the folder itself.

    Raises:
        InputError: it is a link, which may lead out of a stranger's folder, or a pipe, whose reading might never end.
    """
    if os.path.islink(path):  # not of pathlib: that fails in a folder that may not be searched
        raise InputError(f"{path}: is a link, which is not followed")
    require_file(path)
    return path


def signature(path: Path) -> Any:
    """Return what changes whenever a file is written anew; None where there is no file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
