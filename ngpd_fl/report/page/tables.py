"""Tables of the page: figures of groups and runs, configurations, commands and environments."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ngpd_fl.records import OF_ONE_RUN
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.costs import Cost, cost_text
from ngpd_fl.report.page.curves import END_QUANTITIES, QUANTITIES
from ngpd_fl.report.page.groups import Cell, Group, gathered
from ngpd_fl.report.page.settings import Keys, flat, given, run_command, shared, shown, without
from ngpd_fl.report.table import end_words
from ngpd_fl.report.units import seconds, spread

_FINGERPRINTS = ("config", "config_before", "resumed", *OF_ONE_RUN)
"""Parts of an environment that belong to the run, not to the machine."""


class RankedText(NamedTuple):
    """Figure in a table.

    Attributes:
        text: the figure with its unit.
        is_best: whether it is the best in its column.
    """

    text: str
    is_best: bool = False


def end_texts(group: Group) -> list[str]:
    """Return a group's further figures at the end, under ``END_QUANTITIES``."""
    return [group.final(quantity.key).text(quantity.measure) for quantity in END_QUANTITIES]


class GroupValue(NamedTuple):
    """Value of a group of examples, such as a class.

    Attributes:
        text: the figure with its unit; empty if no model was evaluated on the group.
        share: the value relative to the largest in the table, in percent.
    """

    text: str
    share: int


def group_values(cell: Cell) -> list[list[GroupValue]] | None:
    """Return the final value of each class (or bin of targets), a row per group of runs; None if not recorded."""
    key = f"{cell.measure.group}_{cell.measure.key}"
    rows = []
    for group in cell.groups:
        lasts = [run.outcome.last for run in group.counted if run.outcome.last is not None]
        rows.append([spread(values).mean for values in zip(*(getattr(last, key) for last in lasts), strict=False)])
    known = [value for row in rows for value in row if value is not None and math.isfinite(value)]
    if not known or len({len(row) for row in rows if row}) > 1:
        return None
    top = 1.0 if cell.measure.is_share else max(known) or 1.0
    return [
        [
            GroupValue("", 0)
            if value is None
            else GroupValue(cell.measure.text(value), round(100 * value / top) if math.isfinite(value) else 0)
            for value in row
        ]
        for row in rows
    ]


def figures(cell: Cell) -> list[list[RankedText]]:
    """Return the groups' figures, a row per group and a column per quantity."""
    columns = []
    for quantity in QUANTITIES:
        spreads = [group.final(quantity) for group in cell.groups]
        ranks = [cell.measure.rank(math.nan if spread.mean is None else spread.mean) for spread in spreads]
        peers = [rank for rank, group in zip(ranks, cell.groups, strict=True) if not group.is_baseline]
        best = max(peers, default=math.inf) if len(peers) > 1 else math.inf
        columns.append(
            [
                RankedText(spread.text(cell.measure), math.isfinite(rank) and rank == best and not group.is_baseline)
                for spread, rank, group in zip(spreads, ranks, cell.groups, strict=True)
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def cost_texts(cell: Cell, costs: Sequence[Cost], target: float | None) -> list[list[str]]:
    """Return the groups' costs of reaching a target, a row per group and a column per cost."""
    return [["-" if target is None else cost_text(group, cost, target) for cost in costs] for group in cell.groups]


def seeds(group: Group) -> str:
    """Return the seeds of a group, e.g. ``1, 2, 3``."""
    return ", ".join(str(run.config.seed) for run in group.runs)


def run_rows(cell: Cell) -> list[tuple[str, ...]]:
    """Return a row per run: cell, group, seed, status, figures and folder."""
    rows: list[tuple[str, ...]] = []
    for group in cell.groups:
        for run in group.runs:
            last, text = run.outcome.last, run.outcome.measure.text
            values = (None, None) if last is None else (last.mean, last.worst)
            texts = ("-" if value is None else text(value) for value in (*values, run.outcome.averaged_model))
            time = "-" if last is None else seconds(last.train_seconds)
            ends = (str(run.config.seed), end_words(run.outcome))
            rows.append((cell.title, group.label, *ends, *texts, time, str(run.path)))
    return rows


def shared_keys(groups: Sequence[Group]) -> Keys:
    """Return the keys that all runs share."""
    return {key: shown(value) for key, value in _common(groups).items()}


def configurations(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the groups' own keys, full configurations, and commands.

    A key stands out (``own``) if it was given or if another algorithm has it with another value; ``defaults`` are the
    other keys that not all runs share.
    """
    groups = [group for cell in cells for group in cell.groups]
    common, all_keys = _common(groups), [flat(group.runs[0].config) for group in groups]
    rows = []
    for cell in cells:
        for group in cell.groups:
            first = group.runs[0]
            keys = without(flat(first.config), ["seed", *common])
            set_keys = given(first.config)
            own = {
                key: value
                for key, value in keys.items()
                if key in set_keys or any(key in other and other[key] != value for other in all_keys)
            }
            rows.append(
                {
                    "cell": cell.title,
                    "label": group.label,
                    "own": {key: shown(value) for key, value in own.items()},
                    "defaults": {key: shown(value) for key, value in without(keys, own).items()},
                    "seeds": seeds(group),
                    "toml": first.config.to_toml(),
                    "commands": [
                        run_command(run.config, run.folder.has_events) or _from_file(run) for run in group.runs
                    ],
                }
            )
    return rows


def environments(runs: Sequence[RecordedRun]) -> list[tuple[str, dict[str, str]]]:
    """Return the distinct environments of the runs, each with its number of runs."""
    kinds = gathered(runs, lambda run: json.dumps(_machine(run.environment)))
    return [(f"{len(members)} of {len(runs)} runs", json.loads(kind)) for kind, members in kinds.items()]


def lines(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as flat texts, e.g. ``packages.torch`` -> ``2.10.0``."""
    flattened: dict[str, str] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        flattened |= (
            lines(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": "-" if value is None else shown(value)}
        )
    return flattened


def _machine(environment: Mapping[str, Any]) -> dict[str, str]:
    values = {key: value for key, value in environment.items() if key not in _FINGERPRINTS}
    packages = values.pop("packages", {})
    return lines(values | packages)


def _common(groups: Sequence[Group]) -> Keys:
    return without(shared([flat(group.runs[0].config) for group in groups]), ["seed"])


def _from_file(run: RecordedRun) -> str:
    return f"ngpd-fl run --config config.toml --seed {run.config.seed}   # with the full configuration above"
