"""A study's runs on disk, each in a folder named by what its configuration is, so that none is ever done twice."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from ngpd_fl.config import Config, InputError, conforming, read_json_lines
from ngpd_fl.config.renamed import with_names_of_0_1
from ngpd_fl.records import Metrics, RunFolder
from ngpd_fl.records.files import lock
from ngpd_fl.records.shapes import Amount, Shape
from ngpd_fl.sweep.workers import DIVERGED, FAILED, FINISHED, End, is_over

RUNS = "runs"
"""The folder of the runs in that of a study."""

JOURNAL = "journal.jsonl"
"""A line per run that has ended, however: when, how, and after how many seconds."""

_PATIENCE = 30.0
"""Seconds that runs of a study that was killed are given to notice it."""


class _Line(Shape):
    """A line of the journal."""

    run: str
    status: str
    note: str
    seconds: Amount | None


class Record(NamedTuple):
    """A run that is over.

    Attributes:
        status: ``"finished"``, ``"diverged"`` or ``"failed"``.
        note: why it failed.
        summary: as in ``summary.json``; empty where it failed.
        metrics: its evaluations, in order.
    """

    status: str
    note: str
    summary: dict[str, Any]
    metrics: list[Metrics]

    def figure(self, name: str) -> float | None:
        """Return a final figure; None where the run did not finish, or it is not known."""
        value = (self.summary.get("final") or {}).get(name) if self.status == FINISHED else None
        return None if value is None else float(value)

    def reached(self, target: float) -> Metrics | None:
        """Return the first evaluation whose mean over the nodes is as good as a target."""
        return next((each for each in self.metrics if each.measure.rank(each.mean) >= each.measure.rank(target)), None)


class Runs:
    """The runs of a study.

    Attributes:
        folder: where they lie.
        times: key of a run that has ended -> seconds that it took.
    """

    def __init__(self, folder: Path) -> None:
        """Read how earlier runs of the study in ``folder`` have ended."""
        self.folder = folder / RUNS
        self._journal = folder / JOURNAL
        self._records: dict[str, Record] = {}
        self._failed: dict[str, str] = {}
        self.times: dict[str, float] = {}
        for line in self._lines():
            self._take(line)

    @staticmethod
    def key(config: Config) -> str:
        """Return a run's name: a fingerprint of its whole configuration, but for where its data lie.

        It goes by the keys of version 0.1, so that a study of then knows its runs.
        """
        data = config.data.model_copy(update={"data_dir": None, "download": False})
        values = config.model_copy(update={"data": data}).model_dump(mode="json", exclude_none=True)
        return hashlib.sha256(tomli_w.dumps(with_names_of_0_1(values)).encode()).hexdigest()[:16]

    def record(self, key: str) -> Record | None:
        """Return what came of a run; None where it is not over."""
        if key not in self._records and is_over(self.folder / key):
            folder = RunFolder.open(self.folder / key)
            summary = folder.summary()
            metrics = folder.metrics()
            finite = bool(summary.get("final") and metrics) and metrics[-1].measure.rank(metrics[-1].mean) > float(
                "-inf"
            )
            status = FINISHED if summary["status"] == FINISHED and finite else DIVERGED
            self._records[key] = Record(status, "", summary, metrics)
        if key not in self._records and key in self._failed:
            return Record(FAILED, self._failed[key], {}, [])
        return self._records.get(key)

    def end(self, key: str, what: str, end: End) -> None:
        """Write down how a run has ended."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"run": key, "what": what, "status": end.status, "note": end.note, "seconds": end.seconds, "ended": now}
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(line)

    def take_over(self) -> None:
        """Let this process be the one that runs what is missing, what has failed among it.

        A line of the journal that a killed process has not written to its end is removed, and its runs are waited for.

        Raises:
            InputError: one of these goes on and on.
        """
        self._failed.clear()
        with self._journal.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        for path in self.folder.glob("*/config.toml"):
            until = time.monotonic() + _PATIENCE
            while not is_over(path.parent):
                try:
                    lock(path).close()
                    break
                except InputError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)

    def _take(self, line: dict[str, Any]) -> None:
        self._failed.pop(line["run"], None)
        if line["status"] == FAILED:
            self._failed[line["run"]] = line["note"]
        if line["status"] in (FINISHED, DIVERGED) and line["seconds"] is not None:
            self.times[line["run"]] = line["seconds"]

    def _lines(self) -> list[dict[str, Any]]:
        """Return the journal's lines, without one that is not written to its end."""
        if not self._journal.exists():
            return []
        lines = []
        for number, line in read_json_lines(self._journal):
            try:
                lines.append(conforming(line, _Line))
            except ValueError as error:
                raise InputError(f"{self._journal}: line {number} is damaged ({error})") from error
        return lines
