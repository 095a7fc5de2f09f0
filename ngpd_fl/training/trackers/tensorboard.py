"""TensorBoard's event files, in the run's folder: they can be plotted during the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngpd_fl.config.errors import InputError
from ngpd_fl.records import Metrics, RunFolder
from ngpd_fl.records.tracked_runs import tracked_runs
from ngpd_fl.training.trackers.tracker import Tracker
from ngpd_fl.training.trackers.values import Values

if TYPE_CHECKING:
    from ngpd_fl.training.loop import TrainingLoop


class TensorBoard(Tracker):
    """Writes event files, with numbers as 32-bit floats.

    The run's folder is its project and holds its files: there is nothing to name and nothing to send.
    """

    name = "tensorboard"

    def on_start(self, run: TrainingLoop) -> None:
        """Open an event file; of a resumed run, drop what earlier files hold beyond the round where it goes on."""
        folder = run.recorder.folder
        noted = tracked_runs(folder.path).get(self.name) if folder else None
        super().on_start(run)
        assert folder is not None
        # Only torch's writer, which has no types, imports the package: no other run needs it.
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        last = min(noted.round, run.metrics[-1].round if run.metrics else -1) if noted else -1
        self._writer: Any = writer(folder.event_files, purge_step=last + 1 if noted else None)
        self._sent = last

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Make the folder of the files; return the name of the run's folder: it is the run."""
        if self._folder is None:
            raise InputError("track: tensorboard needs a folder for the records; name it by out")
        RunFolder(self._folder).event_files.mkdir(exist_ok=True)
        return title

    def send(self, evaluations: Sequence[Values]) -> None:
        """Write evaluations; they are on disk then."""
        for values in evaluations:
            for tag, value in values.scalars.items():
                self._writer.add_scalar(tag, value, values.round)
            for tag, histogram in values.histograms.items():
                self._writer.add_histogram(tag, histogram.values, values.round, bins=histogram.edges)
        self._writer.flush()

    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Do nothing: the files lie beside the event files."""

    def close(self, status: str) -> None:
        """Close the file."""
        self._writer.close()
