"""``dataset.toml``: the description of node folders that all nodes share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, ValidationError, model_validator

from ngpd_fl.config.errors import InputError, one_line
from ngpd_fl.config.sections import Section
from ngpd_fl.config.text_files import read_toml
from ngpd_fl.data.task import Classification, MultiLabelClassification, Regression, Task, TokenClassification

FILE = "dataset.toml"

Positive = Annotated[float, Field(gt=0)]


class Targets(Section):
    """Standardization and bins of real-valued targets, as ``Regression`` has it."""

    mean: tuple[float, ...] = Field(min_length=1, description="of each target")
    std: tuple[Positive, ...] = Field(description="likewise, the standard deviation")
    edges: tuple[float, ...] = Field((), description="between the bins of the standardized first target, ascending")


class Description(Section):
    """The shared file: classes, labels or targets, and how values become a network's inputs."""

    classes: tuple[str, ...] | None = Field(None, description="names of the classes, in the order of their labels")
    positions: int | None = Field(None, ge=1, description="of classes: how many positions of an example have one each")
    labels: tuple[str, ...] | None = Field(None, description="instead of classes, for multi-label: their names")
    targets: Targets | None = Field(None, description="instead of classes, for regression")
    white: int = Field(255, ge=1, description="the value of uint8 inputs that becomes 1")
    mean: tuple[float, ...] = Field((0.0,), description="subtracted from the inputs: one, or one for each channel")
    std: tuple[Positive, ...] = Field((1.0,), description="what they are then divided by, likewise")

    @model_validator(mode="after")
    def _fits(self) -> Description:
        if [self.classes, self.labels, self.targets].count(None) != 2:
            raise ValueError("needs either classes, labels or targets")
        for kind, names in (("classes", self.classes), ("labels", self.labels)):
            if names is not None and not 0 < len(names) == len(set(names)):
                raise ValueError(f"{kind}: each needs a name of its own")
        if self.positions is not None and self.classes is None:
            raise ValueError("positions: goes with classes")
        pairs = [("", self.mean, self.std)] + (
            [("targets.", self.targets.mean, self.targets.std)] if self.targets else []
        )
        for prefix, mean, std in pairs:
            if not 0 < len(mean) == len(std):
                raise ValueError(f"{prefix}std: needs as many values as {prefix}mean ({len(mean)}; got {len(std)})")
        if self.targets and list(self.targets.edges) != sorted(set(self.targets.edges)):
            raise ValueError("targets.edges: must be ascending")
        return self

    @classmethod
    def read(cls, root: Path) -> Description:
        """Return what ``root/dataset.toml`` says; raise ``InputError`` with one line where it cannot be used."""
        path = root / FILE
        try:
            return cls(**read_toml(path, "data.data_dir:"))
        except ValidationError as error:
            raise InputError(f"data.data_dir: {path}: {one_line(error, cls)}") from None

    @property
    def task(self) -> Task:
        """Return what is learned."""
        if self.labels is not None:
            return MultiLabelClassification(len(self.labels))
        if self.classes is not None:
            number = len(self.classes)
            return Classification(number) if self.positions is None else TokenClassification(number, self.positions)
        assert self.targets is not None  # checked with the description
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (self.targets.mean, self.targets.std))
        return Regression(mean, std, torch.tensor(self.targets.edges, dtype=torch.float32))

    @property
    def fingerprint(self) -> str:
        """Return a few characters that tell it from any other."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
