"""Aim. Runs are stored in the repository of the working folder, ``.aim``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ngpd_fl.records import Metrics
from ngpd_fl.training.trackers.tracker import Tracker
from ngpd_fl.training.trackers.values import Values


class Aim(Tracker):
    """Sends a run to Aim; the project is its experiment. Histograms are distributions."""

    name = "aim"

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin or resume a run."""
        self._aim: Any = import_module("aim")
        self._tracked: Any = self._aim.Run(
            run, experiment=self.project, system_tracking_interval=None, capture_terminal_logs=False
        )
        if run is None:
            self._tracked.name = title
            self._tracked.set_artifacts_uri(Path(".aim", "artifacts").absolute().as_uri())
        self._tracked["config"] = dict(config)
        return str(self._tracked.hash)

    def send(self, evaluations: Sequence[Values]) -> None:
        """Track evaluations."""
        for values in evaluations:
            for tag, value in values.scalars.items():
                self._tracked.track(value, name=tag, step=values.round)
            for tag, histogram in values.histograms.items():
                span = (float(histogram.edges[0]), float(histogram.edges[-1]))
                distribution = self._aim.Distribution(hist=histogram.counts, bin_range=span)
                self._tracked.track(distribution, name=tag, step=values.round)

    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Log all files as artifacts."""
        for path in files:
            self._tracked.log_artifact(str(path), name=path.name, block=True)

    def close(self, status: str) -> None:
        """Note the status, and close the run."""
        self._tracked["status"] = status
        self._tracked.close()
