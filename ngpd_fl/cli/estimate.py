"""``ngpd-fl estimate``: memory, messages and time of a run before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import print_table

if TYPE_CHECKING:
    from ngpd_fl.profiling import Estimate

_KINDS = {
    "params": "parameters",
    "dual": "duals",
    "mirror": "mirrors of the duals",
    "velocity": "momentum",
}
"""Fields of a node's state in words; any other is called as it is."""

_ALMOST = 0.8
"""Share of the memory from which it may not do: the estimate is one, and other programs run as well."""


@flags.with_config_flags()
def estimate(given: flags.ConfigFlags) -> None:
    """Estimate the memory, messages and time of a run before it starts; takes the flags of run.

    It takes some seconds, since rounds of a part of the network are timed. Nothing is written.
    """
    settings = given.load()

    from rich.console import Console
    from rich.table import Table

    from ngpd_fl.profiling import estimate as estimated
    from ngpd_fl.report.setting import setting_words

    with Console(stderr=True).status("timing rounds of a part of the network"):
        result = estimated(settings)
    table = Table.grid(padding=(0, 3, 0, 0))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    for title, rows in (("memory", _memory(result)), ("messages", _messages(result)), ("time", _time(result))):
        table.add_row(f"[bold]{title}[/bold]", *_HEADS[title])
        for row in rows:
            table.add_row(f"  {row[0]}", *row[1:3], f"[dim]{row[3]}[/dim]")
        table.add_row()
    print_table(f"{settings.method}: {setting_words(settings)}", table, _verdict(result) + _end(result))


_HEADS = {"memory": ("a node", "network"), "messages": ("a round", "whole run"), "time": ("once", "whole run")}
"""Of the two columns of figures."""

Rows = list[tuple[str, str, str, str]]


def _memory(result: Estimate) -> Rows:
    from ngpd_fl.report.units import size

    count = result.num_nodes
    rows = [(_KINDS.get(kind, kind), size(total / count), size(total), "exact") for kind, total in result.state.items()]
    work = ("work of a round", size(result.work / count), size(result.work), f"measured{_on(result)}")
    of = "" if result.limit is None else f"; there are {size(result.limit)}"
    if result.memory == result.loading_peak:
        of = f", while the data are read{of}"
    rows += [
        ("messages", "", size(result.messages), "exact"),
        ("models to evaluate", size(result.models / count), size(result.models), "exact"),
        work if result.measured_nodes else ("work of a round", "", "-", "too large to be measured"),
        ("data set", "", size(result.dataset), "exact"),
        ("program", "", size(result.process), "measured"),
        ("at most", "", size(result.memory), f"estimated{of}"),
    ]
    return rows if result.process else [row for row in rows if row[0] != "program"]


def _messages(result: Estimate) -> Rows:
    from ngpd_fl.report.units import size

    rounds = result.config.training.rounds
    return [
        ("one message", size(result.message), "", f"exact; {result.parameters:,} parameters"),
        ("all", size(result.sent / rounds), size(result.sent), "exact"),
    ]


def _time(result: Estimate) -> Rows:
    from ngpd_fl.report import units

    def seconds(duration: float) -> str:
        return f"{1000 * duration:.1f} ms" if duration < 0.1 else units.seconds(duration)

    rounds, training = result.config.training.rounds, result.training_seconds
    rows = [("loading", seconds(result.loading), seconds(result.loading), "measured")]
    if result.round is None or training is None:
        rows.append(("rounds", "-", "-", "too large to be measured"))
    else:
        rows.append(
            (
                "rounds",
                seconds(result.round),
                seconds(training),
                f"measured{_on(result)}, times {rounds}",
            )
        )
    once, all_of_them = seconds(result.evaluation), seconds(result.evaluation_seconds)
    rows.append(("evaluation", once, all_of_them, f"measured on 2 models, times {result.evaluations}"))
    if training is not None:
        total = result.loading + training + result.evaluation_seconds
        rows.append(("in all", "", seconds(total), "estimated"))
    return rows


def _on(result: Estimate) -> str:
    """Describe the part of the network on which rounds were measured."""
    nodes = result.measured_nodes
    return "" if nodes == result.num_nodes else f" on {nodes} of {result.num_nodes:,} nodes"


def _end(result: Estimate) -> str:
    """Return what the whole run is where it may end early."""
    from ngpd_fl.report.units import short_percent

    training = result.config.training
    if training.until_accuracy is None:
        return ""
    return f"\nthe whole run is all {training.rounds} rounds; at {short_percent(training.until_accuracy)} it ends early"


def _verdict(result: Estimate) -> str:
    """Report whether the memory suffices and, if not, how to save some."""
    if result.limit is None:
        return "how much memory there is could not be determined"
    share = result.memory / result.limit
    if share <= _ALMOST:
        return f"the memory is enough: {100 * share:.0f} % of it is needed"
    may = "is too little" if share > 1 else "may be too little"
    spare = "fewer nodes, a smaller network"
    if "curvature" in result.state:
        spare += ", strategy.rank"
    if "mirror" in result.state:
        spare += ", strategy.mixing=0"
    return f"WARNING: the memory {may} ({100 * share:.0f} % of it); what needs less: engine.chunk_size, {spare}"
