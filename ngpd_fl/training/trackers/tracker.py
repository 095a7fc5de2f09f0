"""Base class of trackers: it decides when evaluations are sent, and to which of the tracker's runs."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from os.path import abspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ngpd_fl.config.errors import InputError, cause
from ngpd_fl.config.extras import require_tracker
from ngpd_fl.records import Metrics
from ngpd_fl.records.tracked_runs import TRACKERS_FILE, TrackedRun, note_tracked_run, tracked_runs
from ngpd_fl.training.callbacks import Callback
from ngpd_fl.training.trackers.values import Values, values_of

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.training.loop import TrainingLoop

logger = logging.getLogger(__name__)

PROJECT = "ngpd-fl"
"""Project in which trackers show runs, unless it is named."""

_FILES = ("*.toml", "*.json", "*.jsonl", "*.safetensors")
"""Files of a run's folder that trackers keep: records and models. Checkpoints and pictures stay where they are.

A link may lead to a file that its author, another person, does not see. It is not sent.
"""


class Tracker(Callback, ABC):
    """Sends a run's configuration, evaluations and files to a tracker, by the four methods of a subclass.

    The run's folder notes the tracker's run and its last round: ``resume`` goes on in it, and sends no round twice. A
    tracker that fails during a run, such as a server that does not answer, ends nothing: a warning is given, and the
    next sending brings along what is missing.

    Attributes:
        name: name of the tracker and of its extra.
        pause: least seconds between two sendings, so that a run with many evaluations is not slowed.
        project: the tracker's project, which shows the run.
    """

    name: ClassVar[str]
    pause: ClassVar[float] = 5.0

    def __init__(self, project: str = PROJECT) -> None:
        """Name the project; raise ``InputError`` if the tracker is not installed."""
        require_tracker(self.name)
        self.project = project
        self._folder: Path | None = None
        self._run = ""
        self._is_open = False
        self._sent, self._due = -1, 0.0

    @abstractmethod
    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin a run of the tracker, or go on in one.

        Args:
            run: what this method returned when the run began; None for a new one.
            title: the title of a new run.
            config: the configuration by its keys, such as ``strategy.lr``.

        Returns:
            The tracker's identifier of the run.
        """

    @abstractmethod
    def send(self, evaluations: Sequence[Values]) -> None:
        """Send evaluations, all of them or none."""

    @abstractmethod
    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Send the files of the run, which has ended, and what belongs to all of its evaluations."""

    @abstractmethod
    def close(self, status: str) -> None:
        """End the tracker's run, with the status in ``summary.json``."""

    def begin(self, folder: Path | None, config: Config) -> None:
        """Begin the tracker's run, or go on in the one that the folder notes; no record is changed yet.

        Raises:
            InputError: the tracker does not let it begin.
        """
        self._run, self._folder = "", folder
        noted = tracked_runs(folder).get(self.name) if folder else None
        title = Path(abspath(folder)).name if folder else config.method
        try:
            self._run = self.open(noted.run if noted else None, title, flat(config))
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"track: {self.name} cannot begin a run ({cause(error)})") from error
        self._sent = noted.round if noted else -1
        self._is_open = True

    def on_start(self, run: TrainingLoop) -> None:
        """Note the tracker's run in the folder; begin it if it has not begun."""
        if not self._is_open:
            self.begin(None if run.recorder.folder is None else run.recorder.folder.path, run.config)
        self._note()

    def on_evaluation(self, run: TrainingLoop, metrics: Metrics) -> None:
        """Send the evaluations since the last sending, if that is due."""
        if time.monotonic() >= self._due:
            self._send(run)

    def on_end(self, run: TrainingLoop, summary: dict[str, Any]) -> None:
        """Send what is missing and the run's files, and end the tracker's run."""
        if not self._is_open:  # it did not begin
            return
        self._is_open = False
        self._send(run)
        found = {path for form in _FILES for path in self._folder.glob(form)} if self._folder else set()
        files = sorted(path for path in found if path.name != TRACKERS_FILE and not path.is_symlink())
        try:
            self.send_files(files, run.metrics)
            self.close(summary["status"])
        except Exception as error:
            self._warn(error)

    def _send(self, run: TrainingLoop) -> None:
        missing = [values_of(metrics) for metrics in run.metrics if metrics.round > self._sent]
        if not missing:
            return
        try:
            self.send(missing)
            self._sent = missing[-1].round
            self._note()
        except Exception as error:
            self._warn(error)
        self._due = time.monotonic() + self.pause

    def _note(self) -> None:
        if self._folder:
            run = TrackedRun(project=self.project, run=self._run, round=self._sent)
            note_tracked_run(self._folder, self.name, run)

    def _warn(self, error: Exception) -> None:
        logger.warning("%s: the tracker fails, the run goes on (%s)", self.name, cause(error))


def flat(config: Config) -> dict[str, Any]:
    """Return the keys of a configuration that are set, as ``section.key``, with their values."""
    keys: dict[str, Any] = {}

    def add(prefix: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping) and value:
                add(f"{prefix}{name}.", value)
            else:
                keys[f"{prefix}{name}"] = value

    add("", config.model_dump(mode="json", exclude_none=True))
    return keys
