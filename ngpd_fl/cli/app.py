"""The command line application with all commands. Heavy packages are imported when a command runs: help is fast."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperArgument

from ngpd_fl.cli.calibrate import calibrate
from ngpd_fl.cli.compare import compare
from ngpd_fl.cli.demo import demo
from ngpd_fl.cli.deploy import deploy
from ngpd_fl.cli.doctor import doctor
from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended, complain
from ngpd_fl.cli.estimate import estimate
from ngpd_fl.cli.evaluate import evaluate
from ngpd_fl.cli.flower import flower
from ngpd_fl.cli.keys import keys
from ngpd_fl.cli.new import new
from ngpd_fl.cli.output import lasting_output
from ngpd_fl.cli.partition import partition
from ngpd_fl.cli.peer import gather, peer
from ngpd_fl.cli.report import report
from ngpd_fl.cli.resume import resume
from ngpd_fl.cli.run import run
from ngpd_fl.cli.show import show
from ngpd_fl.cli.study import study
from ngpd_fl.cli.sweep import sweep
from ngpd_fl.cli.topology import topology
from ngpd_fl.cli.watch import watch
from ngpd_fl.core.signals import last_of_process, terminated_like_interrupted

app = typer.Typer()
_RUNS = (demo, run, resume, compare, sweep, study, estimate, calibrate, evaluate)
_READS = (new, show, watch, report, topology, partition, keys, doctor)
_TOGETHER = (peer, gather)
_ALLOCATIONS = 50_000
"""Objects between two garbage collections. With Python's own 700, they take a fifth of the time to import torch."""


class _Argument(TyperArgument):
    """An argument that keeps its help, which click clears from 8.5 on where typer is older than that."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.help = given.get("help")


setattr(typer.main, "TyperArgument", _Argument)  # noqa: B010
for command in (*_RUNS, *_READS, *_TOGETHER):
    app.command()(command)
app.add_typer(flower, name="flower")
app.add_typer(deploy, name="deploy")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"ngpd-fl {version('ngpd-fl')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Decentralized natural-gradient learning on a network of nodes.

    Train it, compare algorithms, and inspect the graph and the data.
    """


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done; 1: failed or diverged; 2: bad input; 130: ended by Ctrl-C, SIGTERM or SIGHUP. A closed pipe or terminal
    changes nothing. Output that cannot be written for another reason, such as a full disk, turns 0 into 1.

    Args:
        words: the arguments after ``ngpd-fl``. Defaults to those of the process.
    """
    collections = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *collections[1:])
    try:
        with nullcontext() if words is not None else last_of_process(), lasting_output() as errors:
            code = _run(list(sys.argv[1:] if words is None else words))
    finally:
        gc.set_threshold(*collections)
    if errors and not code:
        return complain(Ended(f"what was printed could not be written ({errors[0].strerror})", FAILED))
    return code


def _run(given: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit code."""
    try:
        with terminated_like_interrupted():
            code = app(given or ["--help"], prog_name="ngpd-fl", standalone_mode=False)
        if code == INTERRUPTED:  # typer makes an exit code of a Ctrl-C that no command has caught
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        return complain(Ended("interrupted", INTERRUPTED))
    except Exception as error:
        return complain(error)
    return 0
