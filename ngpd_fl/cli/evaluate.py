"""``ngpd-fl evaluate``: the saved models of a run, or of a comparison, evaluated again."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.completion import completed
from ngpd_fl.cli.console import new_table, print_foot, print_lines, print_table, results
from ngpd_fl.config.sections import EvaluationConfig

if TYPE_CHECKING:
    from ngpd_fl.evaluation.saved_models import SavedModelEvaluation, SplitName

_SHOWN = 20
"""With at most this many classes, every class has a row; of more, those on which the nodes are worst."""


_SPLITS = get_args(EvaluationConfig.model_fields["split"].annotation)

Split = Annotated[
    str,
    typer.Option(
        help=f"the examples to evaluate on: {' or '.join(_SPLITS)}", autocompletion=completed(lambda: _SPLITS)
    ),
]
Dataset = Annotated[str | None, typer.Option(help="another data set that fits the models; default: the run's own")]
DataDir = Annotated[Path | None, typer.Option(help="folder that holds the data set; default: as in the run")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.json", help="write all figures, also those of each node")]


def evaluate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a run, or of a comparison")],
    split: Split = "test",
    dataset: Dataset = None,
    data_dir: DataDir = None,
    device: flags.Device = None,
    out: Out = None,
    trust_code: flags.TrustCode = False,
) -> None:
    """Evaluate the saved models of a run: each node's and the averaged one, also on other data than the run's."""
    from ngpd_fl.config import InputError, choices
    from ngpd_fl.evaluation.saved_models import evaluate_saved
    from ngpd_fl.records import RunFolder, require_new
    from ngpd_fl.report.outcome import read_outcomes

    if split not in _SPLITS:
        raise InputError(f"--split: {split!r} is not known; {choices(split, _SPLITS)}")
    if out is not None:
        require_new(out)
    single = RunFolder.holds_run(directory)
    folders = [directory] if single else [directory / outcome.name for outcome in read_outcomes(directory)]
    results = [
        evaluate_saved(
            RunFolder.open(folder),
            split=cast("SplitName", split),
            dataset=dataset,
            data_dir=data_dir,
            device=device or "auto",
            trust_code=trust_code,
        )
        for folder in folders
    ]
    if out is not None:
        _write(results, single, out)
    foot = f"models in {directory}" + (f", figures in {out}" if out else "")
    if single:
        _print_one(results[0], foot)
    else:
        _print_several(results, foot)


def _write(results: list[SavedModelEvaluation], single: bool, out: Path) -> None:
    from ngpd_fl.config import InputError
    from ngpd_fl.records import write_text

    figures = [result.figures() for result in results]
    try:
        write_text(out, json.dumps(figures[0] if single else {"runs": figures}, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror})") from error


def _print_one(result: SavedModelEvaluation, foot: str) -> None:
    """Print the figures as they stand at a run's end, and a table of the classes or bins."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ngpd_fl.records import METRICS, null_if_not_finite
    from ngpd_fl.report import units
    from ngpd_fl.report.setting import setting_words

    values, sizes = result.evaluation, result.sizes
    measure, text, average = values.measure, values.measure.text, values.average
    assert average is not None  # all parameters are here
    ranks = [measure.rank(value) for value in values.nodes.tolist()]
    names = result.config.topology.node_names if len(ranks) > 1 else ("0",)
    ends = {word: ranks.index(end(ranks)) for word, end in (("worst", min), ("best", max))}
    nodes = ", ".join(f"{word} {text(values.nodes[node])} (node {names[node]})" for word, node in ends.items())
    lines = [
        ("evaluated on", f"{_examples(result)}, {len(sizes)} {measure.groups}"),
        (f"{measure.name} of the nodes", f"mean {text(values.nodes.mean())}, {nodes}"),
        (f"on their own {measure.groups}", f"mean {_own(result)}"),
        ("averaged model", text(average.value)),
    ]
    for other in METRICS[measure].others:
        mean, averaged = float(values.others[other.key].mean()), average.others[other.key]
        if isfinite(mean) and isfinite(averaged):  # as at a run's end
            lines.append((other.name, f"mean {other.text(mean)}, averaged model {other.text(averaged)}"))
    lines.append(("consensus distance", units.distance(null_if_not_finite(average.consensus_distance))))
    heads = (measure.group, measure.examples, "mean of the nodes", "averaged model")
    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False)
    table.show_edge = False
    for column in table.columns:
        column.justify = "right"
    order, title = list(range(len(sizes))), f"{measure.group} by {measure.group}"
    if len(sizes) > _SHOWN:
        evaluated = (group for group in order if sizes[group])
        order = sorted(evaluated, key=lambda group: measure.rank(float(values.groups[group])))[: _SHOWN // 2]
        title = f"the {len(order)} {measure.groups} on which the nodes are worst"
    for group in order:
        of_group = (figures[group] for figures in (values.groups, average.groups))
        table.add_row(str(group), str(sizes[group]), *(text(value) if sizes[group] else "-" for value in of_group))
    print_lines(f"{result.config.method}: {setting_words(result.config)}", lines, f"{title}\n")
    results().print(table)
    print_foot(foot)


def _print_several(results: list[SavedModelEvaluation], foot: str) -> None:
    """Print a line per run, the best first."""
    from ngpd_fl.records import null_if_not_finite
    from ngpd_fl.report import units

    table = new_table()
    table.add_column("")
    for head in ("mean", "worst", "best", f"own {results[0].evaluation.measure.groups}", "averaged", "consensus"):
        table.add_column(head.replace(" ", "\n"), justify="right", vertical="bottom")
    evaluated = set()
    for result in sorted(results, key=_rank, reverse=True):
        values, measure = result.evaluation, result.evaluation.measure
        ranked = sorted(values.nodes.tolist(), key=measure.rank)
        shares = map(measure.text, (values.nodes.mean(), ranked[0], ranked[-1]))
        assert values.average is not None
        distance = units.distance(null_if_not_finite(values.average.consensus_distance))
        table.add_row(result.name, *shares, _own(result), measure.text(values.average.value), distance)
        evaluated.add(f"{_examples(result)} ({measure.name})")
    print_table(f"evaluated on {' and '.join(sorted(evaluated))}", table, foot)


def _examples(result: SavedModelEvaluation) -> str:
    """Describe the examples of the evaluation, e.g. ``the 359 test images of digits``."""
    apart = ", each model on its node's own" if result.evaluated_on == "own" else ""
    return f"the {result.sizes.sum():,} {result.split} {result.evaluation.measure.examples} of {result.dataset}{apart}"


def _own(result: SavedModelEvaluation) -> str:
    """Return the nodes' mean on examples distributed as their own; ``-`` where it is not known what these are."""
    return result.evaluation.measure.text(result.evaluation.own.mean()) if result.own_known else "-"


def _rank(result: SavedModelEvaluation) -> float:
    return result.evaluation.measure.rank(float(result.evaluation.nodes.mean()))
