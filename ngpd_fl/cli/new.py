"""``ngpd-fl new``: a folder to start from, with data and network of your own, a run, a study and a test."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

FILES = {
    "my_task.py": "your data and your network",
    "config.toml": "a run: ngpd-fl run --config config.toml",
    "study.toml": "a comparison: ngpd-fl study study.toml --out study",
    "test_my_task.py": "tests: pytest",
}
"""The files of a new project, each with what it is for."""

_STORED_AS = {"test_my_task.py": "checks.py"}
"""Other names in the package: Flower leaves test_*.py out of its app bundles."""


def new(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="the folder to make; it must not exist")],
) -> None:
    """Make a folder with a small project to change into yours: data, network, configuration, study and test.

    Everything in it runs as it is, in seconds.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.records import require_new, write_text
    from ngpd_fl.records.files import atomic_write

    require_new(folder, "NAME", "folder")
    stored = files("ngpd_fl.cli") / "project"
    texts = {name: (stored / _STORED_AS.get(name, name)).read_text("utf-8") for name in FILES}
    try:
        with atomic_write(folder) as partial:
            partial.mkdir()
            for name, text in texts.items():
                write_text(partial / name, text)
    except OSError as error:
        raise InputError(f"NAME: {folder} cannot be made ({error.strerror})") from error
    width = max(map(len, FILES))
    print(f"made {folder}; in that folder:")
    for name, purpose in FILES.items():
        print(f"  {name:{width}}  {purpose}")
