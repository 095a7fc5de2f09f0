"""Checkpoints of a run: its whole state every few rounds, from which it can resume. The last two are kept.

A checkpoint is two files. ``round-000010.safetensors`` holds the tensors. ``round-000010.json`` holds everything else,
with the checksums of both and of the evaluations so far. The JSON file is written last: without it there is no
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ngpd_fl.config import InputError, conforming, read_record
from ngpd_fl.records.files import read_tensors, remove_partial, write_tensors, write_text
from ngpd_fl.records.shapes import CheckpointContent, CheckpointNotes, CheckpointPlan

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = 2
_KEPT = 2
_NAME = re.compile(r"round-(\d{6,})\.(?:json|safetensors)")


class DamagedCheckpoint(Exception):
    """A checkpoint differs from what was written; the message is one line that names its file."""


class Checkpoint(NamedTuple):
    """The state of a run after a round.

    Attributes:
        round: rounds done.
        tensors: by name, on the CPU.
        values: the rest, as JSON holds it.
        recorded: length of ``metrics.jsonl`` at that time, in bytes.
    """

    round: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]
    recorded: int


class Checkpoints:
    """The checkpoints of a run, in the folder ``checkpoints`` beside its records.

    Attributes:
        path: that folder; the first file creates it.
    """

    def __init__(self, run: Path) -> None:
        """Name the checkpoints of the run in folder ``run``; nothing is read or written yet."""
        self.path = run / "checkpoints"
        self._metrics = run / "metrics.jsonl"

    def plan(self, every: int) -> None:
        """Record the rounds from one checkpoint to the next, for a later resume."""
        self.path.mkdir(exist_ok=True)
        write_text(self.path / "plan.json", json.dumps({"every": every}) + "\n")

    def planned(self) -> int | None:
        """Return the rounds that ``plan`` recorded; None if it was not called.

        Raises:
            InputError: the record is damaged.
        """
        path = self.path / "plan.json"
        if not path.exists():
            return None
        try:
            return int(read_record(path, CheckpointPlan)["every"])
        except InputError as error:
            raise InputError(f"{error}; --checkpoint-every writes it again") from error

    def write(self, round: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write the state after ``round``. It is on disk when this returns; only the one before it is kept besides.

        Args:
            round: rounds done.
            tensors: by name.
            values: the rest, as JSON can hold it, so keys are strings.
        """
        self.path.mkdir(exist_ok=True)
        stem = self._stem(round)
        write_tensors(stem.with_suffix(".safetensors"), tensors)
        content = {
            "format": _FORMAT,
            "round": round,
            "tensors": _digest(stem.with_suffix(".safetensors")),
            "metrics": [self._metrics.stat().st_size, _digest(self._metrics)],
            "values": values,
        }
        text = json.dumps(content)
        checksum = hashlib.sha256(text.encode()).hexdigest()
        write_text(stem.with_suffix(".json"), f'{{"sha256": "{checksum}", "content": {text}}}\n')
        self._keep([kept_round for kept_round in self.rounds() if kept_round <= round][:_KEPT])

    def rounds(self) -> list[int]:
        """Return the rounds that have files, the last first."""
        names = (_NAME.fullmatch(path.name) for path in self.path.glob("round-*"))
        return sorted({int(name[1]) for name in names if name}, reverse=True)

    def read(self, round: int) -> Checkpoint:
        """Return the state after ``round``, every tensor in memory of its own, contiguous.

        Raises:
            DamagedCheckpoint: a file is missing, or differs from what was written.
        """
        stem = self._stem(round)
        notes, tensors = stem.with_suffix(".json"), stem.with_suffix(".safetensors")
        content = _content(notes)
        recorded, metrics_digest = content["metrics"]
        for path, length, digest in ((tensors, None, content["tensors"]), (self._metrics, recorded, metrics_digest)):
            try:
                if path.stat().st_size < (length or 0) or _digest(path, length) != digest:
                    raise DamagedCheckpoint(f"{path} is damaged (its checksum in {notes.name} does not fit)")
            except OSError as error:
                raise DamagedCheckpoint(f"{path} cannot be read ({error.strerror})") from error
        try:
            loaded = read_tensors(tensors).tensors
        except InputError as error:
            raise DamagedCheckpoint(str(error)) from error
        return Checkpoint(round, loaded, content["values"], recorded)

    def candidates(self) -> Iterator[Checkpoint | DamagedCheckpoint]:
        """Yield each checkpoint, the last first, or the error that makes it unusable."""
        for round in self.rounds():
            try:
                yield self.read(round)
            except DamagedCheckpoint as damaged:
                yield damaged

    def forget_after(self, round: int) -> None:
        """Remove the checkpoints of later rounds."""
        self._keep([kept_round for kept_round in self.rounds() if kept_round <= round])

    def _keep(self, rounds: list[int]) -> None:
        for path in list(self.path.glob("round-*")):
            if (name := _NAME.fullmatch(path.name)) and int(name[1]) not in rounds:
                path.unlink()
        remove_partial(self.path, is_ours=True)

    def _stem(self, round: int) -> Path:
        return self.path / f"round-{round:06}"


def require_alike(given: Any, own: Any, where: str = "values") -> None:
    """Raise ``ValueError`` where JSON values have other types than a run's own values at the same places.

    Numbers are alike, and anything is like None. What only one of the two has is left to the code that uses it.
    """
    kinds = (int, float) if type(own) in (int, float) else (type(own),)
    if own is not None and type(given) not in kinds:
        raise ValueError(f"{where} should be of type {type(own).__name__}, is of type {type(given).__name__}")
    if isinstance(own, dict):
        places: Iterable[Any] = own.keys() & given.keys()
    else:
        places = range(min(len(own), len(given))) if isinstance(own, list) else ()
    for place in places:
        require_alike(given[place], own[place], f"{where}.{place}")


def _digest(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first ``length`` bytes."""
    with path.open("rb") as file:
        if length is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(file.read(length)).hexdigest()


def _content(notes: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's JSON file; raise ``DamagedCheckpoint`` if it was altered."""
    try:  # not strict: the clock's next events may be infinitely far away
        record = read_record(notes, CheckpointNotes, strict=False)
        if record["sha256"] != hashlib.sha256(json.dumps(record["content"]).encode()).hexdigest():
            raise DamagedCheckpoint(f"{notes} is damaged (its checksum does not fit)")
        if (version := record["content"].get("format")) != _FORMAT:
            raise DamagedCheckpoint(f"{notes} is of another version (format {version}, expected {_FORMAT})")
        return conforming(record["content"], CheckpointContent)
    except InputError as error:
        raise DamagedCheckpoint(str(error)) from error
    except ValueError as error:
        raise DamagedCheckpoint(f"{notes} is damaged ({error})") from error
