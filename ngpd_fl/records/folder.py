"""A run's folder on disk: its files, written so that nothing recorded is ever lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.clock import Event, keep_rounds, write_round
from ngpd_fl.config import Config, InputError, choices, read_json_lines, read_record, read_text
from ngpd_fl.records.checkpoints import Checkpoint, Checkpoints
from ngpd_fl.records.display import UNFINISHED, Display, DisplayedRun
from ngpd_fl.records.environment import differences
from ngpd_fl.records.files import (
    StillRunning,
    alone_in,
    is_locked,
    lock,
    read_tensors,
    refuse_link,
    remove_partial,
    write_tensors,
    write_text,
)
from ngpd_fl.records.label_counts import read_label_counts, write_label_counts
from ngpd_fl.records.metrics import Metrics, metrics_of
from ngpd_fl.records.shapes import Environment, Summary
from ngpd_fl.records.versions import RECORDS, current_summary, naming_version, recorded_config, written_by

if TYPE_CHECKING:
    from torch import Tensor

AVERAGE = "average"
"""Name of the averaged model among the saved models; the others are ``node0``, ``node1``, ..."""

_CUT_SHORT = ("interrupted", "failed")
"""Status of a run that ended early and recorded that; a run that was killed has no summary."""

_CHANGED = ("config.toml", "metrics.jsonl", "events.jsonl", "abandoned.jsonl", "checkpoints", "plots", "tensorboard")
"""Files that are opened to be changed, and folders whose files change; all others are replaced."""


class RunFolder(Display):
    """One run's records.

    Its files are ``config.toml``, ``environment.json``, ``metrics.jsonl`` (a line per evaluation), ``summary.json`` and
    more; ``docs/reference/run-folder.md`` lists them.

    The process that writes evaluations holds a lock on ``config.toml``.

    Attributes:
        path: the folder.
        checkpoints: the checkpoints in it.
    """

    def __init__(self, path: Path | str) -> None:
        """Name the folder; nothing is read or written yet."""
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path)
        self._events = self.path / "events.jsonl"
        self._lock: IO[bytes] | None = None

    def __repr__(self) -> str:
        """Return its name."""
        return f"RunFolder({str(self.path)!r})"

    def _displayed(self) -> DisplayedRun:
        config, has_ended = self.config(), (self.path / "summary.json").exists()
        return DisplayedRun(
            self.path.resolve().name, config, self.metrics(), self.summary() if has_ended else {"status": UNFINISHED}
        )

    @classmethod
    def create(
        cls,
        path: Path,
        config: Config,
        environment: Mapping[str, Any],
        checkpoint_every: int | None = None,
        event_log: bool = False,
    ) -> RunFolder:
        """Make the folder and write everything that is known before the run.

        Args:
            path: the folder; it must be empty or not exist.
            config: the run's configuration.
            environment: versions, device and threads, on which the result depends too.
            checkpoint_every: rounds from one checkpoint to the next. Defaults to no checkpoints.
            event_log: whether the events of the virtual clock will be written.

        Raises:
            InputError: the folder is not empty, or cannot be made.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            text = config.to_toml()
            with alone_in(path):
                require_empty(path)
                write_text(path / "config.toml", text)
                folder._lock = lock(path / "config.toml")
            write_text(path / "environment.json", _json({**environment, "config": _fingerprint(text)}))
            if checkpoint_every is not None:
                folder.checkpoints.plan(checkpoint_every)
            if event_log:
                folder._events.touch()
            folder.make_absolute()
        except OSError as error:
            raise InputError(f"out: {path} cannot be written ({error.strerror})") from error
        return folder

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Return the folder of an earlier run; raise ``InputError`` if ``path`` holds none."""
        if not cls.holds_run(Path(path)):
            raise InputError(f"{path}: not a run's folder (it should hold config.toml and environment.json)")
        return cls(path)

    @classmethod
    def reopen(cls, path: Path | str, *, finished: bool = False) -> RunFolder:
        """Return the folder of an interrupted run, locked, to resume the run.

        Args:
            path: the folder.
            finished: whether a finished run may go on as well.

        Raises:
            InputError: there is no such run, it is still going or over, or its configuration has changed since.
        """
        folder = cls.open(path)
        for name in _CHANGED:
            refuse_link(folder.path / name)
        try:
            folder._lock = lock(folder.path / "config.toml")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            folder._check_cut_short((*_CUT_SHORT, "finished") if finished else _CUT_SHORT)
        except InputError:
            folder.close()
            raise
        return folder

    def extend(self, rounds: int) -> None:
        """Record that the run, whose folder is locked, does more rounds than it began with."""
        assert self._lock is not None
        before, after = read_text(self.path / "config.toml", ""), self.config({"training.rounds": rounds}).to_toml()
        both = {"config": _fingerprint(after), "config_before": _fingerprint(before)}  # a crash may come between
        write_text(self.path / "environment.json", _json({**self.environment(), **both}))
        self._lock.seek(0)
        self._lock.write(after.encode())
        self._lock.truncate()
        self._lock.flush()
        os.fsync(self._lock.fileno())

    @property
    def has_reached_target(self) -> bool:
        """Whether the run has ended at its target accuracy."""
        return (self.path / "summary.json").exists() and bool((self.summary()["target"] or {}).get("reached"))

    def make_absolute(self) -> None:
        """Make the path absolute, so that it stays valid if the working folder changes."""
        self.path = self.path.absolute()
        self.checkpoints = Checkpoints(self.path)
        self._events = self.path / "events.jsonl"

    @staticmethod
    def holds_run(path: Path) -> bool:
        """Return whether ``path`` is the folder of a run, finished or not."""
        return (path / "config.toml").is_file() and (path / "environment.json").is_file()

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended: it has no result, and a process may be writing."""
        return not (self.path / "summary.json").exists() and is_locked(self.path / "config.toml")

    @property
    def how_to_continue(self) -> str:
        """Hint for resuming the run, e.g. ``"`ngpd-fl resume DIR` goes on"``; empty if it is over or cannot resume."""
        try:
            lock(self.path / "config.toml").close()
            self._check_cut_short()
        except (InputError, OSError) as error:  # the latter where nothing can be written
            return "it is still going" if isinstance(error, StillRunning) else ""
        if (self.path / "peer.json").exists():
            return "the same `ngpd-fl peer` goes on"
        way_on = "goes on" if self.checkpoints.rounds() else "begins it again (it has no checkpoint)"
        return f"`ngpd-fl resume {self.path}` {way_on}"

    def add(self, metrics: Metrics) -> None:
        """Append one evaluation; it is on disk when this returns."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(metrics.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind(self, checkpoint: Checkpoint | None, environment: Mapping[str, Any]) -> list[Metrics]:
        """Drop all records after a checkpoint; the run records them again.

        Args:
            checkpoint: the state from which the run resumes. None drops all records.
            environment: the present environment; its differences from the earlier one are recorded.

        Returns:
            The evaluations that remain.
        """
        rounds, recorded = (checkpoint.round, checkpoint.recorded) if checkpoint else (0, 0)
        if changes := differences(before := self.environment(), environment):
            resumed = [*before.get("resumed", []), {"round": rounds, "changes": changes}]
            write_text(self.path / "environment.json", _json({**before, "resumed": resumed}))
        for name in ("summary.json", "models.safetensors"):
            (self.path / name).unlink(missing_ok=True)
        with (self.path / "metrics.jsonl").open("ab") as file:
            file.truncate(recorded)
            os.fsync(file.fileno())
        if self.has_events:
            keep_rounds(self._events, rounds)
        self.checkpoints.forget_after(rounds)
        remove_partial(self.path, is_ours=True)
        return self.metrics()

    def add_counts(self, label_counts: NDArray[np.int64]) -> None:
        """Write each node's number of training examples per class, ``[N, C]``: a line per node."""
        write_label_counts(self.path / "label_counts.json", label_counts)

    @property
    def event_files(self) -> Path:
        """Folder of TensorBoard's event files, which exists only if they are written."""
        return self.path / "tensorboard"

    @property
    def has_events(self) -> bool:
        """Whether the events of the virtual clock are recorded."""
        return self._events.exists()

    def add_events(self, events: Sequence[Event]) -> None:
        """Append the events of a round of the network."""
        with self._events.open("a", encoding="utf-8") as file:
            write_round(file, events)

    def finish(self, summary: Mapping[str, Any], models: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write the result and the models: model name -> parameter name -> tensor."""
        tensors = {f"{model}/{name}": value for model, named in models.items() for name, value in named.items()}
        write_tensors(self.path / "models.safetensors", tensors)
        write_text(self.path / "summary.json", _json(summary))
        self.close()

    def close(self) -> None:
        """Unlock the folder: nothing more is written."""
        if self._lock is not None:
            self._lock.close()

    def config(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """Return the run's configuration, with ``overrides`` by dotted keys applied."""
        with naming_version(self.path):
            return recorded_config(self.path / "config.toml", overrides)

    def metrics(self) -> list[Metrics]:
        """Return the evaluations in order; empty before the first one.

        A last line that a crash cut off is left out; raise ``InputError`` if another line is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        evaluations = []
        with naming_version(self.path):
            for number, values in read_json_lines(path):
                try:
                    evaluations.append(metrics_of(values))
                except ValueError as error:
                    raise InputError(f"{path}: line {number} is damaged ({error})") from error
        return evaluations

    def summary(self) -> dict[str, Any]:
        """Return the result; raise ``InputError`` if the run has not ended or the file is damaged."""
        path = self.path / "summary.json"
        if not path.exists():
            raise InputError(f"{self.path}: the run has not ended (no summary.json)")
        with naming_version(self.path):
            return read_record(path, Summary, current_summary)

    def environment(self) -> dict[str, Any]:
        """Return the content of ``environment.json``; raise ``InputError`` if it is damaged."""
        return read_record(self.path / "environment.json", Environment)

    def label_counts(self) -> NDArray[np.int64] | None:
        """Return each node's training examples per class, ``[N, C]``; None if the run did not record them."""
        path, config = self.path / "label_counts.json", self.config()
        return read_label_counts(path, (config.topology.nodes, config.num_models)) if path.exists() else None

    def models(self) -> dict[str, dict[str, Tensor]]:
        """Return all saved models: ``"node0"``, ..., ``"average"`` -> parameter name -> tensor."""
        path = self.path / "models.safetensors"
        if not path.exists():
            raise InputError(f"{self.path}: the run has not ended (no models.safetensors)")
        models: dict[str, dict[str, Tensor]] = {}
        for key, value in read_tensors(path).tensors.items():
            model, _, name = key.partition("/")
            models.setdefault(model, {})[name] = value
        return models

    def parameters(self, model: str = AVERAGE) -> dict[str, Tensor]:
        """Return one model's parameters, ready for ``module.load_state_dict``: ``"average"`` or ``"node0"``, ..."""
        models = self.models()
        if model not in models:
            raise InputError(f"model {model!r}: not in {self.path}; {choices(model, sorted(models))}")
        return models[model]

    def _check_cut_short(self, resumable: Sequence[str] = _CUT_SHORT) -> None:
        """Raise ``InputError`` if the run is over, or cannot resume as it began."""
        path = self.path
        if (path / "summary.json").exists() and (status := self.summary().get("status")) not in resumable:
            raise InputError(f"{path}: the run is over ({status}); only one that was cut short can be resumed")
        environment = self.environment()
        if (records := environment.get("records")) != RECORDS:
            version = written_by(path) or "of an unknown version"
            raise InputError(
                f"{path}: cannot be resumed; ngpd-fl {version} wrote records of version {records or 1}, not {RECORDS}"
            )
        if "data" not in environment:
            raise InputError(f"{path}: cannot be resumed; neither Flower's runs can, nor those of earlier versions")
        known = (environment.get("config"), environment.get("config_before"))
        if _fingerprint(read_text(path / "config.toml", "")) not in known:
            raise InputError(f"{path}: config.toml was changed since the run began; resume goes on with what it was")


def require_empty(path: Path) -> None:
    """Raise ``InputError`` if a folder for new records is not empty."""
    if not any(path.iterdir()):
        return
    way_on = RunFolder(path).how_to_continue if RunFolder.holds_run(path) else ""
    if (path / "sweep.toml").is_file():
        way_on = f"`ngpd-fl sweep {path / 'sweep.toml'} --out {path} --resume` goes on"
    hint = f"{way_on}, or name" if way_on else "name"
    raise InputError(f"out: {path} is not empty; nothing recorded is overwritten, {hint} another folder")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
