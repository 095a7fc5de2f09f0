"""Weights & Biases. Its own environment variables apply, such as ``WANDB_MODE=offline``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ngpd_fl.records import Metrics
from ngpd_fl.training.trackers.tracker import Tracker
from ngpd_fl.training.trackers.values import Values


class WandB(Tracker):
    """Sends a run to Weights & Biases: histograms as such, records and models as two artifacts."""

    name = "wandb"

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin or resume a run; ``round`` is the axis of its charts."""
        self._module: Any = import_module("wandb")
        self._tracked: Any = self._module.init(
            project=self.project,
            id=run,
            name=None if run else title,
            config=dict(config),
            resume="allow" if run else None,
            allow_val_change=True,  # a run may go on beyond its first number of rounds
            reinit="create_new",
            settings=self._module.Settings(console="off"),
        )
        self._tracked.define_metric("*", step_metric="round")
        return str(self._tracked.id)

    def send(self, evaluations: Sequence[Values]) -> None:
        """Log evaluations."""
        for values in evaluations:
            histograms = {
                tag: self._module.Histogram(np_histogram=(histogram.counts, histogram.edges))
                for tag, histogram in values.histograms.items()
            }
            self.log({**values.scalars, **histograms}, values.round)

    def log(self, values: dict[str, Any], round: int) -> None:
        """Log numbers and histograms by their tags."""
        self._tracked.log({"round": round, **values})

    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Log the models as an artifact of the type model, all other files as one of the type records."""
        models = [path for path in files if path.suffix == ".safetensors"]
        for kind, paths in {"model": models, "records": [path for path in files if path not in models]}.items():
            if paths:
                artifact = self._module.Artifact(f"{kind}-{self._run}", type=kind)
                for path in paths:
                    artifact.add_file(str(path))
                self._tracked.log_artifact(artifact)

    def close(self, status: str) -> None:
        """Wait until everything is sent, or stored where there is no connection."""
        self._tracked.summary["status"] = status
        self._tracked.finish(exit_code=0 if status == "finished" else 1)
