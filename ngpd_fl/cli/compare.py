"""``ngpd-fl compare``: several algorithms on the same data, graph and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.completion import completed, strategy_names
from ngpd_fl.cli.console import warn
from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended, complain
from ngpd_fl.cli.pictures import draw
from ngpd_fl.cli.show import print_comparison
from ngpd_fl.cli.train import train
from ngpd_fl.cli.watch import watched

if TYPE_CHECKING:
    from ngpd_fl.config import Config

Strategies = Annotated[
    str,
    typer.Option(
        metavar="A,B,...",
        help="the algorithms, e.g. ngpd,dsgd; --set dsgd.lr=0.1 is for dsgd only, --set strategy.lr=0.1 for all",
        rich_help_panel=flags.EXPERIMENT,
        autocompletion=completed(strategy_names),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="folder for the records, new or empty; default: see --name", rich_help_panel=flags.FILES
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        help="records go to runs/NAME-1 or the next free number; default: DATASET-comparison",
        rich_help_panel=flags.FILES,
    ),
]


@flags.with_config_flags(without=("strategy.name", "flower"))
def compare(
    given: flags.ConfigFlags,
    strategies: Strategies,
    out: Out = None,
    name: Name = None,
    track: flags.Track = None,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train with several algorithms on the same data, graph and seed, and compare them.

    Each run has its own sub-folder. A table and pictures of all runs are beside them.
    """
    compare_strategies(given, strategies, out, name, flags.tracker_names(track), watch, quiet)


def compare_strategies(
    given: flags.ConfigFlags,
    strategies: str,
    out: Path | None,
    name: str | None,
    track: Sequence[str] = (),
    watch: bool = False,
    quiet: bool = False,
) -> None:
    """Compare strategies as the command does, from its flags."""
    configs = _configs(strategies, given)
    first = next(iter(configs.values()))
    from ngpd_fl.records.new_folder import new_folder

    with new_folder(out, _folder_name(name, out) or f"{first.data.dataset}-comparison") as folder:
        _compose_all(configs)
        if not quiet:
            if len(configs) == 1:
                warn("one strategy compares with nothing; --strategies takes several, e.g. ngpd,dsgd")
            warn(first.topology.caution)
        with watched(folder, watch, quiet):
            unfinished = _train_all(configs, folder, quiet, track)
        if not quiet:
            print_comparison(folder)
        if unfinished:
            raise Ended(f"{', '.join(unfinished)} did not finish; records are kept in {folder}", FAILED)


def _configs(strategies: str, given: flags.ConfigFlags) -> dict[str, Config]:
    """Return each algorithm's configuration by its name, in the given order."""
    from ngpd_fl.config import Config, InputError, suggestion
    from strategies import STRATEGIES

    names = [name.strip() for name in strategies.split(",")]
    if "" in names:
        raise InputError(f"--strategies {strategies}: a name is empty; allowed: {', '.join(STRATEGIES)}")
    if len(set(names)) < len(names):
        raise InputError(f"--strategies {strategies}: a name stands twice")
    shared = given.overrides()
    if "strategy" in shared or "strategy.name" in shared:
        raise InputError("--set strategy: --strategies names the algorithms")
    for key in shared:
        first = key.partition(".")[0]
        if first not in {*Config.model_fields, *STRATEGIES} and (hint := suggestion(first, names)):
            raise InputError(f"--set {key}: {first!r} is neither a section nor one of {', '.join(names)}; {hint}")
    own: dict[str, dict[str, Any]] = {name: {"strategy.name": name} for name in names}
    for key in [key for key in shared if key.partition(".")[0] in STRATEGIES]:
        name, _, inner = key.partition(".")
        if name not in names or not inner:
            raise InputError(f"--set {key}: should be one of {', '.join(names)}, a dot and a key, e.g. {names[0]}.lr")
        if inner == "name":
            raise InputError(f"--set {key}: --strategies names the algorithms")
        # How an algorithm trains may differ as well, e.g. one that exchanges after every step; nothing else may.
        own[name][inner if inner.startswith("training.") else f"strategy.{inner}"] = shared.pop(key)
    return {name: Config.load(given.file, shared | own[name]) for name in names}


def _folder_name(name: str | None, out: Path | None) -> str | None:
    """Return ``--name``; raise ``InputError`` if it is not a plain name, or exists in the folder."""
    from ngpd_fl.config import InputError

    if name is not None and out is not None:
        raise InputError("--name: --out says already where the records go")
    if name is not None and (not name or Path(name).name != name or not name.isprintable()):
        raise InputError(f"--name {name}: should be a plain name; --out takes any folder")
    return name


def _compose_all(configs: Mapping[str, Config]) -> None:
    """Raise ``InputError`` before any training if one of the runs is impossible."""
    from ngpd_fl.training import compose

    for config in configs.values():
        compose(config)


def _train_all(configs: Mapping[str, Config], folder: Path, quiet: bool, track: Sequence[str]) -> list[str]:
    """Train with one algorithm after the other; return those that failed or diverged. These do not stop the others."""
    from ngpd_fl.report import write_comparison

    unfinished = []
    for name, config in configs.items():
        try:
            train(config, folder / name, quiet, track=track)
        except Ended as ended:
            if ended.code == INTERRUPTED:
                raise
            complain(ended)
            unfinished.append(name)
        finally:
            write_comparison(folder)
    draw(folder, quiet, trust_code=True)  # it has just run
    return unfinished
