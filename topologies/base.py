"""Options of every topology that are flags of the command line. Importing this file does not load networkx."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NodeCount = Annotated[int, Field(ge=2, le=100_000)]
"""A number of nodes. It is bounded, since the graphs of untrusted configurations are drawn."""


class BaseTopologyOptions(BaseModel):
    """The family's name and its size."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="the graph, e.g. ring, torus, star, complete, random-regular; `ngpd-fl keys topology` lists all",
        json_schema_extra={"flag": "--topology"},
    )
    nodes: NodeCount = Field(8, description="N, the number of nodes", json_schema_extra={"flag": "--nodes"})
