"""MLflow. Its own environment variables apply, such as ``MLFLOW_TRACKING_URI``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ngpd_fl.records import Metrics
from ngpd_fl.training.trackers.tracker import Tracker
from ngpd_fl.training.trackers.values import Values, values_of

_MOST_PARAMS, _MOST_METRICS, _LONGEST = 100, 1000, 6000
"""Most parameters and most numbers of a request, and most characters of a parameter."""

_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}


class MLflow(Tracker):
    """Sends a run to MLflow; the project is its experiment.

    MLflow has no histograms: the file ``histograms.json`` holds the values of nodes and classes, by tag and round.
    """

    name = "mlflow"

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin or resume a run. Parameters are those of its beginning: MLflow does not let them change."""
        mlflow = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = mlflow.MlflowClient()
        if run is not None:
            self._client.update_run(run, status="RUNNING")
            return run
        experiment = self._client.get_experiment_by_name(self.project)
        number = self._client.create_experiment(self.project) if experiment is None else experiment.experiment_id
        new = str(self._client.create_run(number, run_name=title).info.run_id)
        params = [self._entities.Param(key, str(value)[:_LONGEST]) for key, value in config.items()]
        for begin in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(new, params=params[begin : begin + _MOST_PARAMS])
        return new

    def send(self, evaluations: Sequence[Values]) -> None:
        """Log the numbers of evaluations."""
        now = int(1000 * time.time())
        metrics = [
            self._entities.Metric(tag, value, now, values.round)
            for values in evaluations
            for tag, value in values.scalars.items()
        ]
        for begin in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[begin : begin + _MOST_METRICS])

    def send_files(self, files: Sequence[Path], metrics: Sequence[Metrics]) -> None:
        """Log all files, and the histograms of all evaluations as another one."""
        for path in files:
            self._client.log_artifact(self._run, str(path))
        histograms: dict[str, dict[int, list[float]]] = {}
        for values in map(values_of, metrics):
            for tag, histogram in values.histograms.items():
                histograms.setdefault(tag, {})[values.round] = histogram.values.tolist()
        self._client.log_dict(self._run, histograms, "histograms.json")

    def close(self, status: str) -> None:
        """Set the status."""
        self._client.set_terminated(self._run, _STATUS.get(status, "FAILED"))
