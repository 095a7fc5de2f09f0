"""Display of a run: in a notebook, as a picture of matplotlib, and as a table of pandas."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ngpd_fl.config import Config, InputError
from ngpd_fl.records.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_DRAWING = "ngpd_fl.report.notebook"
"""Module that draws. It imports the records, so it is imported when a run is first displayed."""

UNFINISHED = "unfinished"
"""Status of a run without a summary."""


class DisplayedRun(NamedTuple):
    """Parts of a run that are displayed.

    Attributes:
        name: name of its folder; empty if nothing is recorded.
        config: the configuration.
        metrics: the evaluations so far, in order.
        summary: the content of ``summary.json``; the status alone if the run has not ended.
    """

    name: str
    config: Config
    metrics: list[Metrics]
    summary: dict[str, Any]


class Display(ABC):
    """Base class of objects that display a run."""

    @abstractmethod
    def _displayed(self) -> DisplayedRun:
        """Return the run to display; raise ``InputError`` if the records cannot be read."""

    def plot(self) -> Figure:
        """Return a figure of matplotlib: accuracy, or error, of the nodes and of the averaged model against rounds.

        Raises:
            InputError: nothing has been evaluated yet.
        """
        figure: Figure = import_module(_DRAWING).figure(self._displayed())
        return figure

    def to_pandas(self) -> DataFrame:
        """Return the evaluations as a table: a row per round, a column per field of ``metrics.jsonl``.

        Values of the nodes, and of the classes, are lists: ``frame.explode("accuracy")`` has a row for each node.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise InputError("to_pandas: needs pandas (`pip install pandas`)") from error
        rows = [metrics.model_dump() for metrics in self._displayed().metrics]
        return DataFrame(rows, columns=None if rows else list(Metrics.model_fields)).set_index("round")

    def _repr_html_(self) -> str:
        """Return the run's figures and a small chart for a notebook; no script, and all text escaped."""
        try:
            text: str = import_module(_DRAWING).html(self._displayed())
        except InputError as error:
            return f"<p>{html.escape(str(error))}</p>"
        return text
