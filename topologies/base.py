"""The options of every family that the command line offers as flags; importing them loads no library of graphs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BaseTopologyOptions(BaseModel):
    """The family's name and its size."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="the graph, e.g. ring, torus, star, complete, random-regular; `ngpd-fl keys topology` lists all",
        json_schema_extra={"flag": "--topology"},
    )
    nodes: int = Field(8, ge=2, description="N, the number of nodes", json_schema_extra={"flag": "--nodes"})
