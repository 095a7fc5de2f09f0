"""Trackers: callbacks that send a run's configuration, evaluations and files to an experiment tracker.

from ngpd_fl.training.trackers import WandB
run(config, out="runs/first", callbacks=[WandB(project="rings")])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ngpd_fl.config.extras import require_tracker

if TYPE_CHECKING:
    from ngpd_fl.training.trackers.aim import Aim
    from ngpd_fl.training.trackers.mlflow import MLflow
    from ngpd_fl.training.trackers.tensorboard import TensorBoard
    from ngpd_fl.training.trackers.tracker import Tracker
    from ngpd_fl.training.trackers.trackio import Trackio
    from ngpd_fl.training.trackers.wandb import WandB

__all__ = ["Aim", "MLflow", "TensorBoard", "Trackio", "Tracker", "WandB", "make_tracker"]

_CLASSES = {"aim": "Aim", "mlflow": "MLflow", "tensorboard": "TensorBoard", "trackio": "Trackio", "wandb": "WandB"}
"""Name of each tracker, which is that of its file and of its extra, and its class."""

_FILES = {name: file for file, name in _CLASSES.items()} | {"Tracker": "tracker"}


def make_tracker(name: str, **options: Any) -> "Tracker":
    """Return a tracker by its name, with its class's options; raise ``InputError`` if it is not installed."""
    require_tracker(name)  # before its class is known
    tracker: Tracker = __getattr__(_CLASSES[name])(**options)
    return tracker


def __getattr__(name: str) -> Any:
    """Import a tracker when it is first asked for."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
