"""Files of a comparison, made from the records of the runs in its sub-folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ngpd_fl.records import write_text
from ngpd_fl.report.outcome import Outcome, read_comparison
from ngpd_fl.report.setting import common_words
from ngpd_fl.report.table import ranked, side_by_side


def write_comparison(folder: Path) -> None:
    """Write ``comparison.json`` and ``comparison.md`` about the runs so far, the best first."""
    outcomes = read_comparison(folder)
    if outcomes:
        write_text(folder / "comparison.json", _json(outcomes))
        write_text(folder / "comparison.md", _markdown(outcomes))


def _json(outcomes: Sequence[Outcome]) -> str:
    """Return each run's name and summary."""
    content = {
        "setting": common_words(outcome.config for outcome in outcomes),
        "runs": [{"name": outcome.name, **outcome.summary} for outcome in ranked(outcomes)],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the runs' common setting and a table."""
    heads, *rows = side_by_side(outcomes)
    rule = ("---", *["---:"] * (len(heads) - 1))
    table = "".join(f"| {' | '.join(row)} |\n" for row in (heads, rule, *rows))
    return f"{common_words(outcome.config for outcome in outcomes)}\n\n{table}"
