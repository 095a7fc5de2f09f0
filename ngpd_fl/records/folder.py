"""A run's folder on disk: what it holds, written so that nothing recorded is ever lost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ngpd_fl.config import Config, InputError
from ngpd_fl.records.metrics import Metrics

AVERAGE = "average"
"""Name of the averaged model among the saved ones; the others are ``node0``, ``node1``, ..."""


class RunFolder:
    """One run's records.

    ``config.toml`` the whole configuration, ``environment.json`` versions, device and threads, ``metrics.jsonl`` a line
    per evaluation, ``summary.json`` the result, ``models.safetensors`` final parameters, ``plots/`` pictures.
    """

    def __init__(self, path: Path | str) -> None:
        """Name the folder; nothing is read or written yet."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path, config: Config, environment: Mapping[str, Any]) -> RunFolder:
        """Make the folder and write what is known before the run.

        Raises:
            InputError: the folder holds something already, or cannot be made.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            require_empty(path)
            folder._write("config.toml", config.to_toml())
            folder._write("environment.json", _json(environment))
        except OSError as error:
            raise InputError(f"out: {path} cannot be written ({error.strerror})") from error
        return folder

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Return the folder of an earlier run; raise ``InputError`` where ``path`` holds none."""
        if not cls.holds_run(Path(path)):
            raise InputError(f"{path}: not a run's folder (it should hold config.toml and environment.json)")
        return cls(path)

    @staticmethod
    def holds_run(path: Path) -> bool:
        """Return whether ``path`` is the folder of a run, be it finished or not."""
        return (path / "config.toml").is_file() and (path / "environment.json").is_file()

    def add(self, metrics: Metrics) -> None:
        """Append one evaluation; it is on disk when this returns."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(metrics.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self, summary: Mapping[str, Any], models: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write the result and the models: model name -> parameter name -> tensor."""
        tensors = {f"{model}/{name}": value for model, named in models.items() for name, value in named.items()}
        partial = self.path / "models.safetensors.partial"
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial)
        partial.replace(self.path / "models.safetensors")
        self._write("summary.json", _json(summary))

    def config(self) -> Config:
        """Return the run's configuration."""
        return Config.load(self.path / "config.toml")

    def metrics(self) -> list[Metrics]:
        """Return the evaluations in order, none where the first was not reached.

        A last line that was cut off by a crash is left out; raise ``InputError`` where another is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        found = []
        for number, line in enumerate(_read(path).split("\n")[:-1], start=1):
            try:
                found.append(Metrics.model_validate_json(line))
            except ValidationError as error:
                raise InputError(f"{path}: line {number} is damaged") from error
        return found

    def summary(self) -> dict[str, Any]:
        """Return the result; raise ``InputError`` where the run has not ended or the file is damaged."""
        path = self.path / "summary.json"
        if not path.exists():
            raise InputError(f"{self.path}: the run has not ended (no summary.json)")
        try:
            summary = json.loads(_read(path))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: damaged ({error})") from error
        if not isinstance(summary, dict):
            raise InputError(f"{path}: damaged (not a JSON object)")
        return summary

    def models(self) -> dict[str, dict[str, Tensor]]:
        """Return the saved models by name, each as parameter name -> tensor."""
        path = self.path / "models.safetensors"
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error
        found: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            model, _, parameter = name.partition("/")
            found.setdefault(model, {})[parameter] = value
        return found

    def parameters(self, model: str = AVERAGE) -> dict[str, Tensor]:
        """Return one model's parameters, ready for ``module.load_state_dict``: ``"average"`` or ``"node0"``, ..."""
        models = self.models()
        if model not in models:
            raise InputError(f"model {model!r}: not in {self.path}; allowed: {', '.join(sorted(models))}")
        return models[model]

    def _write(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        partial = self.path / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path / name)


def require_empty(path: Path) -> None:
    """Raise ``InputError`` where a folder for new records holds something already."""
    if any(path.iterdir()):
        raise InputError(f"out: {path} is not empty; nothing recorded is overwritten, name another folder")


def _read(path: Path) -> str:
    """Return a file's text; bytes that are no text are left to whoever parses it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
