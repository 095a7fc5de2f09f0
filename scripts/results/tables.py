"""Tables of the results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from statistics import fmean

from gallery.markdown import table
from results.cells import TRACKING, UNTUNED, Cell, Result

Studies = Mapping[str, Sequence[Cell]]

_README = {
    ("label-skew", "all"): "2 of 10 classes a node, ring of 8",
    ("message-loss", "10 %"): "every tenth message lost, ring of 16",
    ("base-graph", "one-peer exponential"): "one-peer exponential graph, 25 nodes",
}
"""Cells in the README's table, by study and name -> their description there."""


def distinct(studies: Studies) -> list[Cell]:
    """Return the cells in which NGPD has rivals; a setting that two studies share is there once."""
    return list({cell.setting: cell for cell in chain(*studies.values()) if cell.has_rival}.values())


def study_table(cells: Sequence[Cell]) -> str:
    """Return a study's table: a row for each strategy, a column for each cell, and the seconds of a run.

    The strategies are in the order of their mean accuracy over the cells, those in all cells first.
    """
    if not cells:
        return "No results yet."
    labels = dict.fromkeys(result.label for cell in cells for result in cell.results)
    results = {label: [cell.result(label) for cell in cells] for label in labels}

    def place(label: str) -> tuple[bool, bool, float]:
        own = [result for result in results[label] if result is not None]
        return own[0].is_peer, len(own) == len(cells), fmean(result.mean or 0 for result in own)

    body = []
    for label in sorted(results, key=place, reverse=True):
        in_cells = list(zip(cells, results[label], strict=True))
        own = [result for _, result in in_cells if result is not None]
        seconds = [result.seconds for result in own if result.seconds is not None]
        name = f"**{label}**" if label == UNTUNED else label if own[0].is_peer else f"*{label}*"
        time = f"{fmean(seconds):.0f}" if seconds else ""
        texts = [_text(cell, result) + result.worst_text if result else "" for cell, result in in_cells]
        body.append([name, *texts, time])
    names = ["test accuracy, %"] if len(cells) == 1 else [cell.name for cell in cells]
    return table(["", *names, "seconds"], body, numbers=True)


def summary(studies: Studies) -> str:
    """Return in how many cells NGPD is first, or near it: a sentence, one with tracking, and a table by study."""
    cells = distinct(studies)
    sentence = f'Among decentralized algorithms, the row "{UNTUNED}" is {_standing(cells)}.'
    plain = [cell for cell in cells if cell.result(TRACKING)]
    if plain:
        tracked = _standing([replace(cell, ours=TRACKING) for cell in plain])
        sentence += f'\n\nWith "{TRACKING}" in its place, for twice the bytes, NGPD is {tracked}; in the same cells '
        sentence += f"it is first in {_counts(plain)[0]} without tracking."
    body = []
    for name, all_cells in studies.items():
        own = [cell for cell in all_cells if cell.has_rival]
        if not own:
            continue
        leads = [cell.lead for cell in own]
        ends = dict.fromkeys(f"{lead:+.1f}" for lead in (min(leads), max(leads)))
        first, near = _counts(own)
        body.append([f"`{name}`", str(len(own)), str(first), str(near), " to ".join(ends).replace("-", "−")])
    head = ["study", "cells", "NGPD first", "within one sd of the first", "points above the best other algorithm"]
    return f"{sentence}\n\n{table(head, body, numbers=True)}"


def behind(studies: Studies) -> str:
    """Return the cells in which another algorithm is above NGPD, the largest difference first."""
    cells = sorted((cell for cell in distinct(studies) if cell.lead < 0), key=lambda cell: cell.lead)
    if not cells:
        return "In these studies NGPD is first in every cell."
    body = []
    for cell in cells:
        tracked = cell.result(TRACKING)
        rival = f"{_text(cell, cell.rival)} ({cell.rival.label})"
        body.append([cell.title, _text(cell, cell.ngpd), rival, f"{-cell.lead:.1f}", tracked.text if tracked else ""])
    return table(["cell", UNTUNED, "best other algorithm, tuned", "points", TRACKING], body, numbers=True)


def readme(studies: Studies) -> str:
    """Return the README's table and the sentence about all cells."""
    by_name = {(cell.study, cell.name): cell for cell in chain(*studies.values())}
    cells = [by_name[key] for key in _README]
    body = []
    for cell, words in zip(cells, _README.values(), strict=True):
        dsgd = cell.result("DSGD")
        rival = f"{_text(cell, cell.rival)} ({cell.rival.label})"
        body.append([words, _text(cell, cell.ngpd), rival, _text(cell, dsgd) if dsgd else ""])
    head = ["MNIST, small perceptrons, test accuracy in %", UNTUNED, "best other algorithm, tuned", "DSGD, tuned"]
    sentence = summary(studies).partition("\n")[0]
    return f"{table(head, body, numbers=True)}\n\n{sentence}"


def _text(cell: Cell, result: Result) -> str:
    """Return a result in a cell: bold the best of the compared peers, with a star those near it."""
    if result is cell.best:
        return f"**{result.text}**"
    return result.text + (" *" if result in cell.compared and cell.is_near(result) else "")


def _counts(cells: Sequence[Cell]) -> tuple[int, int]:
    """Return in how many cells NGPD is first, and in how many others near the first."""
    others = [cell for cell in cells if cell.best is not cell.ngpd]
    return len(cells) - len(others), sum(cell.is_near(cell.ngpd) for cell in others)


def _standing(cells: Sequence[Cell]) -> str:
    """Return where NGPD stands in these cells, as ``first in 3 of 4 cells (75 %)``."""
    first, near = _counts(cells)
    words = f"first in all {first} cells" if first == len(cells) else ""
    words = words or f"first in {first} of {len(cells)} cells ({_share(first, cells)})"
    return words + (f", and first or within one standard deviation of the first in {first + near}" if near else "")


def _share(count: int, cells: Sequence[Cell]) -> str:
    return f"{100 * count / len(cells):.0f} %"
