"""Decentralized natural-gradient learning on a network of nodes.

from ngpd_fl import Config, run
result = run(Config(strategy="ngpd", topology={"name": "ring", "nodes": 8}))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngpd_fl.config import Config, InputError
    from ngpd_fl.flower.launcher.run import run_flower
    from ngpd_fl.records import Progress, RunFolder
    from ngpd_fl.report.progress import ProgressBar
    from ngpd_fl.training.callbacks import Callback
    from ngpd_fl.training.run import Result, resume, run

_HOME = {
    "Callback": "training.callbacks",
    "Config": "config",
    "InputError": "config",
    "Progress": "records",
    "ProgressBar": "report.progress",
    "Result": "training.run",
    "RunFolder": "records",
    "resume": "training.run",
    "run": "training.run",
    "run_flower": "flower.launcher.run",
}

__all__ = [
    "Callback",
    "Config",
    "InputError",
    "Progress",
    "ProgressBar",
    "Result",
    "RunFolder",
    "resume",
    "run",
    "run_flower",
]


def __dir__() -> list[str]:
    """Name what is imported when it is first asked for as well."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for: torch takes seconds, and the command line's help needs none of it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
