"""Trackio. Its own environment variables apply, such as ``TRACKIO_DIR``; runs are stored on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from ngpd_fl.records import Metrics
from ngpd_fl.training.trackers.tracker import Tracker
from ngpd_fl.training.trackers.values import Values


class Trackio(Tracker):
    """Sends a run to Trackio: histograms as such, records and models as two artifacts."""

    name = "trackio"

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin or resume a run. Trackio knows runs by their names: a new one gets a number behind its title."""
        self._trackio: Any = import_module("trackio")
        name = run or f"{title}-{uuid4().hex[:8]}"
        resume = "allow" if run else "never"
        with redirect_stdout(sys.stderr):  # results alone go to stdout
            self._tracked: Any = self._trackio.init(self.project, name, config=dict(config), resume=resume, embed=False)
        return str(self._tracked.name)

    def send(self, evaluations: Sequence[Values]) -> None:
        """Log evaluations."""
        for values in evaluations:
            histograms = {
                tag: self._trackio.Histogram(np_histogram=(histogram.counts, histogram.edges))
                for tag, histogram in values.histograms.items()
            }
            self._tracked.log({**values.scalars, **histograms}, step=values.round)

    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Log the models as an artifact of the type model, all other files as one of the type records."""
        models = [path for path in files if path.suffix == ".safetensors"]
        for kind, paths in {"model": models, "records": [path for path in files if path not in models]}.items():
            if paths:
                artifact = self._trackio.Artifact(f"{kind}-{self._run}", type=kind)
                for path in paths:
                    artifact.add_file(str(path))
                self._tracked.log_artifact(artifact)

    def close(self, status: str) -> None:
        """Wait until everything is stored."""
        with redirect_stdout(sys.stderr):
            self._tracked.finish()
