"""The options of every algorithm that the command line offers as flags; importing them loads no torch."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

RENAMED = {"wire": "message_dtype"}
"""Old name of an option -> its name."""


class BaseStrategyOptions(BaseModel):
    """The algorithm's name and its step size."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="the algorithm, e.g. ngpd, ecl, dsgd; `ngpd-fl keys strategy` lists all",
        json_schema_extra={"flag": "--strategy"},
    )
    lr: float = Field(0.05, gt=0, description="mu, the step size", json_schema_extra={"flag": "--lr"})

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, values: Any) -> Any:
        for old, new in RENAMED.items():
            if isinstance(values, dict) and old in values:
                raise ValueError(f"{old}: renamed to {new}")
        return values
