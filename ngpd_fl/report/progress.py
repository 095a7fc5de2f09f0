"""Progress of a run: a bar on a terminal and in a notebook, occasional lines in a log."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ngpd_fl.training.callbacks import Callback

if TYPE_CHECKING:
    from ngpd_fl.records import Metrics, Progress
    from ngpd_fl.training.loop import TrainingLoop

Report = Callable[["Progress"], None]

_LINES, _SILENCE = 10, 60.0
"""A log gets about this many lines a run, and one after this many seconds at the latest."""

WIDTH, _LABEL, _BAR = 80, 30, 8
"""Columns: of a line in a log, of a label at most, of the bar at least."""


_MOMENT = 0.2
"""Least seconds between two pictures of the bar in a notebook."""


class ProgressBar(Callback):
    """Shows a run's progress: a bar in a notebook or a terminal, about ten lines elsewhere."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._shown: AbstractContextManager[Report] | None = None
        self._report: Report | None = None

    def on_start(self, run: TrainingLoop) -> None:
        """Begin."""
        self._shown = reporting(run.config.method, quiet=False)
        self._report = self._shown.__enter__()

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Show a round."""
        if self._report is not None:
            self._report(progress)

    def on_end(self, run: TrainingLoop, summary: dict[str, Any]) -> None:
        """End."""
        if self._shown is not None:
            self._shown.__exit__(None, None, None)


@contextmanager
def reporting(label: str, quiet: bool) -> Iterator[Report]:
    """Yield a function that shows a run's progress on stderr, under the name ``label``."""
    label = short(label)
    if quiet:
        yield lambda progress: None
    elif is_in_notebook():
        yield _notebook_bar(label)
    elif sys.stderr.isatty():
        with _bar(label) as report:
            yield report
    else:
        yield _lines(label)


def is_in_notebook() -> bool:
    """Return whether a kernel of Jupyter, as in VS Code or Colab, runs this code."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def _notebook_bar(label: str) -> Report:
    """Return a function that shows a bar in one output of a cell, which changes in place."""
    display: Any = import_module("IPython.display").display
    figures, drawn = _Figures(), 0.0
    handle: Any = None

    def report(progress: Progress) -> None:
        nonlocal handle, drawn
        text = f"{label}  round {progress.round}/{progress.rounds}  {figures.of(progress, WIDTH)}"
        if handle is not None and progress.round < progress.rounds and time.monotonic() - drawn < _MOMENT:
            return
        bar = f'<progress value="{progress.round}" max="{progress.rounds}"></progress>'
        shown = {"text/html": f"<div>{bar} {html.escape(text)}</div>", "text/plain": text}
        if handle is None:
            handle = display(shown, raw=True, display_id=True)
        else:
            handle.update(shown, raw=True)
        drawn = time.monotonic()

    return report


@contextmanager
def _bar(label: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    figures, console = _Figures(), Console(stderr=True)
    with Display(*columns, console=console, expand=True) as display:
        task = display.add_task(label, total=None, figures="")

        def report(progress: Progress) -> None:
            room = console.width - len(label) - _BAR - len(f"{progress.rounds}/{progress.rounds}") - len(columns)
            display.update(task, completed=progress.round, total=progress.rounds, figures=figures.of(progress, room))

        yield report


def _lines(label: str) -> Report:
    figures = _Figures()
    printed = 0.0

    def report(progress: Progress) -> None:
        nonlocal printed
        head = f"{label}  round {progress.round:{len(str(progress.rounds))}}/{progress.rounds}  "
        text = figures.of(progress, WIDTH - len(head))  # for every round: it remembers
        due = progress.round * _LINES // progress.rounds > (progress.round - 1) * _LINES // progress.rounds
        if due or time.monotonic() - printed > _SILENCE:
            print(head + text, file=sys.stderr, flush=True)
            printed = time.monotonic()

    return report


class _Figures:
    """Figures of a round: the latest accuracies or errors, the speed, and the time left at the speed so far.

    By the virtual clock also the time of those accuracies or errors.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None
        self._metrics: Metrics | None = None

    def of(self, progress: Progress, room: int) -> str:
        """Return those that fit in so many columns."""
        self._metrics = progress.metrics or self._metrics
        from ngpd_fl.report import units

        words = {} if self._metrics is None else metrics_words(self._metrics)
        if self._first is None:
            self._began, self._first = time.monotonic(), progress.round  # loading is done: rounds begin
        else:
            done, to_do = progress.round - self._first, progress.rounds - progress.round
            left = (time.monotonic() - self._began) / done * to_do
            words["speed"] = f"{units.rate(progress.node_steps / progress.train_seconds)} node-steps/s"
            words["left"] = f"{clock(left)} left"
        return fitted(words, room)


def short(label: str) -> str:
    """Return a label with its end left out where that is long."""
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 3]}..."


def metrics_words(metrics: Metrics) -> dict[str, str]:
    """Return the figures of an evaluation that progress shows, by their names."""
    from ngpd_fl.report import units

    words = {"mean": f"mean {metrics.measure.text(metrics.mean):>7}"}
    if metrics.has_average:
        words["averaged"] = f"averaged {metrics.measure.text(metrics.averaged_model):>7}"
    if metrics.virtual_seconds is not None:
        words["virtual"] = f"virtual {units.seconds(metrics.virtual_seconds)}"
    return words


def fitted(words: dict[str, str], room: int) -> str:
    """Return the figures that fit in so many columns, in their order; the speed is the first to go."""
    left_out: set[str] = set()
    for name in ("speed", "virtual", "averaged", "left", ""):
        text = "  ".join(word for key, word in words.items() if key not in left_out)
        if len(text) <= room:
            break
        left_out.add(name)
    return text


def clock(seconds: float) -> str:
    """Return a duration as ``1:05`` or ``1:00:05``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
