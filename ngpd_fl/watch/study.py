"""A study as the page shows it: its cells, which fill while its runs end."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ngpd_fl.config import InputError, parse_json, read_text, read_toml
from ngpd_fl.config.text_files import decoded
from ngpd_fl.records import MEASURES
from ngpd_fl.records.growing_file import GrowingFile
from ngpd_fl.watch.numbers import Number, short
from ngpd_fl.watch.own_file import own_file, signature
from ngpd_fl.watch.run import key_of

STUDY, RESULTS, JOURNAL = "study.toml", "results.csv", "journal.jsonl"
"""A study's plan, its table of results, which it writes anew after each run, and its journal of the runs' ends."""

_ROWS, _RUNS, _LONG = 2_000, 100_000, 200
"""Most rows of a table that are shown; most runs with a name; most characters of a text."""


class WatchedStudy:
    """A study's progress so far.

    Attributes:
        path: the folder.
        key: its name in addresses.
        version: grows with every change.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Name the folder of a study; nothing is read."""
        self.path, self.name = path, name
        self.key = key_of(path)
        self.version = 0
        self._journal = GrowingFile(path / JOURNAL)
        self._names: dict[str, str] = {}
        self._signatures: Any = None
        self._state: dict[str, Any] = {}

    def poll(self) -> None:
        """Read its files again if they have changed."""
        signatures = [signature(self.path / name) for name in (STUDY, RESULTS)]
        if signatures == self._signatures:
            return
        self._signatures = signatures
        self.version += 1
        problem, title = "", self.name
        rows: list[dict[str, Any]] = []
        try:
            title = str(_toml(self.path / STUDY).get("title", title))[:_LONG]
            rows = _rows(self.path / RESULTS) if signatures[1] is not None else []
        except InputError as error:
            problem = str(error).replace(str(self.path), self.name)
        self._state = {"key": self.key, "name": self.name, "title": title, "rows": rows, "problem": problem}

    def run_name(self, folder: str) -> str:
        """Return a run's name in the study, e.g. ``ring/iid/ngpd seed 1``; while it goes on, that of its folder.

        Args:
            folder: name of the run's folder.
        """
        for line in self._journal.read().lines:
            try:
                values = parse_json(decoded(line))
                if len(self._names) < _RUNS:
                    self._names[str(values["run"])] = str(values["what"])[:_LONG]
            except (ValueError, KeyError, TypeError):
                continue
        return self._names.get(folder, folder[:8])

    def state(self) -> dict[str, Any]:
        """Return all that the page shows: title, and a row for each cell and strategy."""
        return self._state


def _toml(path: Path) -> dict[str, Any]:
    return read_toml(own_file(path), "study file")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return a row for each cell and strategy: its names, the numbers of its runs, and its figures."""
    table = csv.DictReader(io.StringIO(read_text(own_file(path), ""), newline=""))
    rows: list[dict[str, Any]] = []
    try:
        for row in table:
            if len(rows) == _ROWS:
                break
            rows.append(_row({name: text or "" for name, text in row.items() if isinstance(name, str)}))
    except csv.Error as error:
        raise InputError(f"{path}: damaged ({error})") from error
    return rows


def _row(row: dict[str, str]) -> dict[str, Any]:
    counts = {name: _number(row.get(name, "")) or 0 for name in ("seeds", "finished", "diverged", "failed", "trials")}
    measure = next((measure for measure in MEASURES.values() if f"mean_{measure.key}_mean" in row), None)
    value = None if measure is None else _number(row[f"mean_{measure.key}_mean"])
    return {
        "cell": row.get("cell", "")[:_LONG],
        "strategy": row.get("strategy", "")[:_LONG],
        "is_baseline": row.get("role") not in ("peer", ""),
        "is_best": row.get("best") == "true",
        **counts,
        "tried": _number(row.get("tried", "")) or 0,
        "higher": measure is None or measure.higher_is_better,
        "value": value,
        "text": "" if measure is None or value is None else measure.text(value),
    }


def _number(text: str) -> Number:
    try:
        return short(float(text))
    except ValueError:
        return None
