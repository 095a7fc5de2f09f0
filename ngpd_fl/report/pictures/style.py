"""Style of all pictures: sizes, titles, light grids.

Figures are objects drawn by Agg, without pyplot. They are made and drawn within ``drawing``, so that the user's
settings of matplotlib do not change them.
"""

from __future__ import annotations

import io
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ngpd_fl.config import InputError
from ngpd_fl.records.files import atomic_write, require_new
from ngpd_fl.records.new_folder import RUNS, plain

INK, FAINT, LIGHT = "#222222", "#767676", "#e6e6e6"

FORMATS = (".png", ".pdf", ".svg")

_lock = threading.RLock()


@contextmanager
def drawing() -> Iterator[None]:
    """Use matplotlib's default settings in this context, for one thread at a time."""
    with _lock, matplotlib.style.context("default"):
        yield


_LONGEST = 16
"""Most characters of a node's name in a picture."""


def short_name(name: str) -> str:
    """Return a node's name for pictures: cut if long, with dollar signs escaped."""
    return (name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…").replace("$", r"\$")


class Picture(Figure):
    """A figure that shows itself in a notebook, also where pyplot is not in use."""

    def _repr_png_(self) -> bytes:
        with drawing(), io.BytesIO() as file:
            self.savefig(file, format="png", dpi=100, facecolor="white")
            return file.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` by ``height`` inches, with constrained layout."""
    figure = Picture(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, subtitle: str = "") -> None:
    """Style axes: a bold title, a small subtitle below it, light spines and ticks."""
    below = textwrap.fill(subtitle, 92)
    axes.set_title(below, loc="left", fontsize=8.5, color=FAINT, pad=8, linespacing=1.3)
    height = 8 + 12 * len(below.splitlines()) + 3
    axes.annotate(title, (0, 1), xytext=(0, height), xycoords="axes fraction", textcoords="offset points",
                  fontsize=12.5, fontweight="bold", color=INK)  # fmt: skip
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")
    axes.tick_params(color="#bbbbbb", labelcolor=INK, labelsize=9.5)
    axes.xaxis.label.set(color=INK, fontsize=10.5)
    axes.yaxis.label.set(color=INK, fontsize=10.5)
    axes.set_axisbelow(True)


def picture_path(out: Path | None, name: str) -> Path:
    """Return where a picture goes; raise ``InputError`` where ``out`` is taken, in no folder, or no kind of picture.

    Args:
        out: the file. Defaults to the first free one of ``runs/NAME-1.png``, ``-2``, ...
        name: see ``out``.
    """
    if out is None:
        return next(path for number in count(1) if not (path := RUNS / f"{plain(name)}-{number}.png").exists())
    if out.suffix not in FORMATS:
        raise InputError(f"out: {out} is no picture; its name may end in {', '.join(FORMATS)}")
    require_new(out)
    return out


def save(figure: Figure, path: Path) -> Path:
    """Write a figure to a file; raise ``InputError`` if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial, warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ ")  # names of folders may have letters that no font has
            figure.savefig(partial, dpi=150, facecolor="white", **_without_date(path))
    except OSError as error:
        raise InputError(f"out: {path} cannot be written ({error.strerror})") from error
    return path


def _without_date(path: Path) -> dict[str, Any]:
    """Return options that keep the date out of vector formats, so that the same run gives the same file."""
    return {".pdf": {"metadata": {"CreationDate": None}}, ".svg": {"metadata": {"Date": None}}}.get(path.suffix, {})
