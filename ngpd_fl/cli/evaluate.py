"""``ngpd-fl evaluate``: the saved models of a run, or of a comparison, judged again."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import print_lines, print_table

if TYPE_CHECKING:
    from ngpd_fl.judging import Judgement

_SHOWN = 20
"""Up to this many classes each has a row; of more, those that are recognised worst."""


class SplitName(StrEnum):
    """What models can be judged on."""

    test = "test"
    validation = "validation"


Split = Annotated[SplitName, typer.Option(help="which of its images")]
Dataset = Annotated[
    str | None, typer.Option(help="another data set whose images and classes fit; default: the run's own")
]
DataDir = Annotated[Path | None, typer.Option(help="folder that holds the data set; default: as in the run")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.json", help="write all figures, also those of each node")]


def evaluate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a run, or of a comparison")],
    split: Split = SplitName.test,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    device: flags.Device = None,
    out: Out = None,
) -> None:
    """Judge the saved models of a run: each node's and the averaged one, also on other data than the run's."""
    from ngpd_fl.config import InputError
    from ngpd_fl.judging import judge
    from ngpd_fl.records import RunFolder
    from ngpd_fl.report import read_outcomes

    if out is not None and out.exists():
        raise InputError(f"out: {out} is there already; nothing is overwritten, name another file")
    single = RunFolder.holds_run(directory)
    folders = [directory] if single else [directory / outcome.name for outcome in read_outcomes(directory)]
    found = [
        judge(RunFolder.open(folder), split=split.value, dataset=dataset, data_dir=data_dir, device=device or "auto")
        for folder in folders
    ]
    if out is not None:
        _write(found, single, out)
    foot = f"models in {directory}" + (f", figures in {out}" if out else "")
    if single:
        _print_one(found[0], foot)
    else:
        _print_several(found, foot)


def _write(found: list[Judgement], single: bool, out: Path) -> None:
    from ngpd_fl.config import InputError

    figures = [each.figures() for each in found]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures[0] if single else {"runs": figures}, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror})") from error


def _print_one(found: Judgement, foot: str) -> None:
    """Print the figures as they stand at a run's end, and a table of the classes."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ngpd_fl.cli.console import results
    from ngpd_fl.report import units
    from ngpd_fl.report.setting import setting_words

    figures, images = found.figures(), found.images
    accuracy = found.evaluation.accuracy
    mean, worst, best = (units.percent(figures[f"{name}_accuracy"]) for name in ("mean", "min", "max"))
    nodes = f"mean {mean}, worst {worst} (node {accuracy.argmin()}), best {best} (node {accuracy.argmax()})"
    lines = [
        ("judged on", f"{_images(found)}, {len(images)} classes"),
        ("accuracy of the nodes", nodes),
        ("on classes as their own", f"mean {units.percent(figures['mean_own_accuracy'])}"),
        ("averaged model", units.percent(figures["averaged_model_accuracy"])),
        ("consensus distance", units.distance(figures["consensus_distance"])),
    ]
    table = Table("class", "images", "mean of the nodes", "averaged model", box=SIMPLE_HEAD, pad_edge=False)
    table.show_edge = False
    for column in table.columns:
        column.justify = "right"
    order = list(range(len(images)))
    if len(images) > _SHOWN:
        order = sorted(order, key=lambda label: _rank(figures["class_accuracy"][label]))[: _SHOWN // 2]
    for label in order:
        of_class = (figures[key][label] for key in ("class_accuracy", "averaged_model_class_accuracy"))
        table.add_row(str(label), str(images[label]), *map(units.percent, of_class))
    several = len(images) > _SHOWN
    title = f"the {len(order)} classes that the nodes recognise worst" if several else "class by class"
    print_lines(f"{found.config.strategy.name}: {setting_words(found.config)}", lines, f"{title}\n")
    results().print(table)
    results().print(f"\n{foot}", soft_wrap=True, markup=False)


def _print_several(found: list[Judgement], foot: str) -> None:
    """Print a line per run, the best first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ngpd_fl.report import units

    heads = ("mean acc.", "min acc.", "max acc.", "own classes", "averaged", "consensus")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("")
    for head in heads:
        table.add_column(head.replace(" ", "\n"), justify="right", vertical="bottom")
    rows = sorted((each.figures() for each in found), key=lambda row: -row["mean_accuracy"])
    keys = ("mean_accuracy", "min_accuracy", "max_accuracy", "mean_own_accuracy", "averaged_model_accuracy")
    for row in rows:
        shares = (units.percent(row[key]) for key in keys)
        table.add_row(row["run"], *shares, units.distance(row["consensus_distance"]))
    judged = {_images(each) for each in found}
    print_table(f"judged on {' and '.join(sorted(judged))}", table, foot)


def _images(found: Judgement) -> str:
    """Return what was judged on, e.g. ``the 359 test images of digits``."""
    return f"the {found.images.sum():,} {found.split} images of {found.dataset}"


def _rank(accuracy: float | None) -> float:
    return 2.0 if accuracy is None else accuracy
