"""Extras: packages that only a part of the project needs. Where they are missing, that part says so in one line."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

TRACKERS = ("aim", "mlflow", "tensorboard", "trackio", "wandb")
"""Names of the trackers; the extra and the module of each have the same name."""

MODULES = {
    "datasets": ("flwr_datasets", "datasets", "pyarrow"),
    "flower": ("flwr",),
    "ray": ("ray",),
    "report": ("matplotlib", "plotly", "jinja2"),
    "slurm": ("submitit",),
    "study": ("optuna", "pyarrow"),
    "watch": ("starlette", "uvicorn"),
    **{name: (name,) for name in TRACKERS},
}
"""Extra -> the modules that it brings and that this project imports."""


def has_extra(extra: str) -> bool:
    """Return whether the packages of an extra are installed; none of them is imported."""
    return not _missing(extra)


def require_extra(extra: str, subject: str) -> None:
    """Require that the packages of an extra are installed; none of them is imported.

    Args:
        extra: a key of ``MODULES``.
        subject: what needs it: a configuration key, a flag, a command.

    Raises:
        InputError: they are not; the line names the first missing one and the command that installs all of them.
    """
    if missing := _missing(extra):
        from ngpd_fl.config.errors import InputError  # its imports would stay in the memory of services

        raise InputError(f"{subject}: {missing[0]} is not installed; {remedy(extra)}")


def require_tracker(name: str) -> None:
    """Require that a tracker is one of ``TRACKERS`` and installed; raise ``InputError`` if not."""
    from ngpd_fl.config.errors import InputError, choices

    if name not in TRACKERS:
        raise InputError(f"track: {name!r} is not known; {choices(name, TRACKERS)}")
    require_extra(name, f"track: {name}")


def remedy(extra: str) -> str:
    """Return the command that installs an extra."""
    return f'pip install "ngpd-fl[{extra}]"'


def installed_version(package: str) -> str | None:
    """Return the version of a package, which is not imported; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _missing(extra: str) -> list[str]:
    return [module for module in MODULES[extra] if find_spec(module) is None]
