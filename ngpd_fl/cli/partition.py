"""``ngpd-fl partition``: how the training examples are divided among the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import fits, new_table, print_lines, results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from ngpd_fl.config import Config
    from ngpd_fl.records import Measure

Export = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="write each node's data into DIR/node0, DIR/node1, ...",
        rich_help_panel=flags.FILES,
    ),
]


@flags.with_config_flags("data.dataset", "data.data_dir", "partition", "topology", "seed")
def partition(given: flags.ConfigFlags, export: Export = None, out: flags.Picture = None) -> None:
    """Draw how many images of each class each node holds, and print counts and measures of their skew.

    With --export, write each node's images into a folder of its own, to be copied to devices.
    """
    settings = given.load()

    from ngpd_fl.report.pictures.partition import count_labels, partition_figure
    from ngpd_fl.report.pictures.style import drawing, picture_path, save
    from ngpd_fl.report.setting import partition_words

    path = picture_path(out, f"{settings.data.dataset}-{settings.partition.name}-{settings.topology.nodes}")
    counts, measure = count_labels(settings)
    exported = []
    if export is not None:
        from ngpd_fl.data import export_nodes

        left = export_nodes(settings, export)
        words = f"for --dataset node-folders; {left} validation {measure.examples} left out"
        exported = [("exported to", f"{export} ({words})")]
    with drawing():
        save(partition_figure(settings, counts, measure), path)
    _print_counts(counts, measure, settings.topology.node_names)
    lines = _measures(counts, measure) + _on_graph(counts, settings) + exported
    print_lines(partition_words(settings), lines, f"picture: {path}")


def _print_counts(counts: NDArray[np.int64], measure: Measure, names: Sequence[str]) -> None:
    """Print a row per node: its images, and how many of each class or bin where all columns fit."""
    console = results()
    table = _counts_table(counts, measure, names, range(counts.shape[1]))
    if not fits(table, console):
        table = _counts_table(counts, measure, names, range(0))
    console.print(table)


def _counts_table(counts: NDArray[np.int64], measure: Measure, names: Sequence[str], classes: range) -> Table:
    """Return a row per node with a column for each of the classes."""
    from rich.markup import escape

    table = new_table()
    for head in ("node", measure.examples, measure.groups, *map(str, classes)):
        table.add_column(head, justify="right")
    for name, row in zip(names, counts, strict=True):
        cells = (str(row[label]) if row[label] else "-" for label in classes)
        table.add_row(escape(name), str(row.sum()), str((row > 0).sum()), *cells)
    return table


def _measures(counts: NDArray[np.int64], measure: Measure) -> list[tuple[str, str]]:
    """Return the names and values of the measures of skew."""
    from ngpd_fl.data import label_skew, unused_classes

    sizes, skew, unused = counts.sum(1), label_skew(counts), unused_classes(counts)
    return [
        (f"{measure.examples} per node", f"min {sizes.min()}, mean {sizes.mean():.1f}, max {sizes.max()}"),
        (f"{measure.groups} per node", f"mean {skew.classes_per_node:.2f} of {counts.shape[1]}"),
        ("total variation", f"{skew.total_variation:.3f} (0: all alike; below 1)"),
        ("Jensen-Shannon", f"{skew.jensen_shannon:.3f} bits (0: all alike)"),
        ("size variation", f"{skew.size_variation:.3f} (standard deviation / mean)"),
        (f"{measure.groups} on no node", ", ".join(map(str, unused)) or "none"),
    ]


def _on_graph(counts: NDArray[np.int64], settings: Config) -> list[tuple[str, str]]:
    """Return how the skew lies on the graph."""
    from ngpd_fl.config import build_topology
    from ngpd_fl.data import neighborhood_skew
    from ngpd_fl.report.setting import graph_words

    skew = neighborhood_skew(counts, build_topology(settings))
    return [
        ("between neighbors", f"{skew.between_neighbors:.3f} total variation on a {graph_words(settings)}"),
        ("of neighborhoods", f"{skew.of_neighborhoods:.3f} total variation from all nodes' labels together"),
    ]
