"""A study's runs on disk, in folders named by a fingerprint of their configuration, so that no run is done twice."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from ngpd_fl.config import Config, InputError, conforming, read_json_lines
from ngpd_fl.config.renamed import ADDED, with_names_of_0_1
from ngpd_fl.records import Metrics, RunFolder
from ngpd_fl.records.files import StillRunning, lock
from ngpd_fl.records.shapes import Amount, Shape
from ngpd_fl.sweep.tasks import DIVERGED, FAILED, FINISHED, RunEnd, is_over

RUNS = "runs"
"""Name of the folder of runs in a study's folder."""

JOURNAL = "journal.jsonl"
"""Name of the journal: a line per run that has ended, with date, status and seconds."""

_TIMEOUT = 30.0
"""Seconds for the runs of a killed study to end."""


class _Line(Shape):
    """A line of the journal."""

    run: str
    status: str
    note: str
    seconds: Amount | None


class CompletedRun(NamedTuple):
    """Result of a run that is over.

    Attributes:
        status: ``"finished"``, ``"diverged"`` or ``"failed"``.
        note: the reason of a failure.
        summary: the content of ``summary.json``; empty after a failure.
        metrics: evaluations, in order.
    """

    status: str
    note: str
    summary: dict[str, Any]
    metrics: list[Metrics]

    def figure(self, name: str) -> float | None:
        """Return a final figure; None if the run did not finish or has no such figure."""
        value = (self.summary.get("final") or {}).get(name) if self.status == FINISHED else None
        return None if value is None else float(value)

    def reached(self, target: float) -> Metrics | None:
        """Return the first evaluation whose mean over nodes reaches a target; None if there is none."""
        return next((m for m in self.metrics if m.measure.rank(m.mean) >= m.measure.rank(target)), None)


class RunStore:
    """All runs of a study on disk.

    Attributes:
        folder: the folder of the runs.
        times: seconds of the runs that have ended, by their keys.
    """

    def __init__(self, folder: Path) -> None:
        """Read the journal of the study in ``folder``."""
        self.folder = folder / RUNS
        self._journal = folder / JOURNAL
        self._records: dict[str, CompletedRun] = {}
        self._failed: dict[str, str] = {}
        self.times: dict[str, float] = {}
        for line in self._lines():
            self._take(line)

    @staticmethod
    def key(config: Config) -> str:
        """Return a run's name: a fingerprint of its configuration, but for the place of its data and the workers.

        Its result depends on neither. It goes by the keys of version 0.1, and by newer ones that do not have their
        default, so that a study of then knows its runs.
        """
        data = config.data.model_copy(update={"data_dir": None, "download": False})
        values = config.model_copy(update={"data": data}).model_dump(mode="json", exclude_none=True)
        del values["engine"]["workers"]
        for section, names in ADDED.items():
            fields = type(getattr(config, section)).model_fields
            for name in names & values[section].keys():
                if values[section][name] == fields[name].default:
                    del values[section][name]
        return hashlib.sha256(tomli_w.dumps(with_names_of_0_1(values)).encode()).hexdigest()[:16]

    def record(self, key: str) -> CompletedRun | None:
        """Return the result of a run; None if it is not over."""
        if key not in self._records and is_over(self.folder / key):
            folder = RunFolder.open(self.folder / key)
            summary = folder.summary()
            metrics = folder.metrics()
            finite = bool(summary.get("final") and metrics) and math.isfinite(metrics[-1].mean)
            status = FINISHED if summary["status"] == FINISHED and finite else DIVERGED
            self._records[key] = CompletedRun(status, "", summary, metrics)
        if key not in self._records and key in self._failed:
            return CompletedRun(FAILED, self._failed[key], {}, [])
        return self._records.get(key)

    def end(self, key: str, what: str, end: RunEnd) -> None:
        """Record the end of a run in the journal."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"run": key, "what": what, "status": end.status, "note": end.note, "seconds": end.seconds, "ended": now}
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(line)

    def take_over(self) -> None:
        """Prepare to run all that is missing or has failed.

        Removes a line of the journal that a killed process left incomplete, and waits for that process's runs to end.

        Raises:
            InputError: one of these runs does not end in time, or its folder is not a study's own.
        """
        self._failed.clear()
        with self._journal.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        for path in self.folder.glob("*/config.toml"):
            until = time.monotonic() + _TIMEOUT
            while not is_over(path.parent):
                try:
                    lock(path).close()
                    break
                except StillRunning:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
                except OSError as error:
                    raise InputError(f"{path}: cannot be written ({error.strerror})") from error

    def _take(self, line: dict[str, Any]) -> None:
        self._failed.pop(line["run"], None)
        if line["status"] == FAILED:
            self._failed[line["run"]] = line["note"]
        if line["status"] in (FINISHED, DIVERGED) and line["seconds"] is not None:
            self.times[line["run"]] = line["seconds"]

    def _lines(self) -> list[dict[str, Any]]:
        """Return the journal's complete lines."""
        if not self._journal.exists():
            return []
        lines = []
        for number, line in read_json_lines(self._journal):
            try:
                lines.append(conforming(line, _Line))
            except ValueError as error:
                raise InputError(f"{self._journal}: line {number} is damaged ({error})") from error
        return lines
