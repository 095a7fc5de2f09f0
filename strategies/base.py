"""The options of every algorithm that the command line offers as flags; importing them loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BaseStrategyOptions(BaseModel):
    """The algorithm's name and its step size."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="the algorithm, e.g. ngpd, ecl, dsgd; `ngpd-fl keys strategy` lists all",
        json_schema_extra={"flag": "--strategy"},
    )
    lr: float = Field(0.05, gt=0, description="mu, the step size", json_schema_extra={"flag": "--lr"})
