"""``ngpd-fl peer``: the nodes of one machine, which exchange messages directly. See docs/how-to/edge.md."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import print_step
from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended
from ngpd_fl.cli.pictures import draw
from ngpd_fl.core.signals import stopping

if TYPE_CHECKING:
    from ngpd_fl.peer.transport import Credentials, Insecure

_IDENTITY = "Identity"


def peer(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file of the run, the same for all peers")],
    peers: Annotated[
        Path,
        typer.Option(metavar="FILE", help="TOML file: who hosts which nodes, and where", rich_help_panel=_IDENTITY),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="folder for this peer's records; if it holds some, the run resumes",
            rich_help_panel=flags.FILES,
        ),
    ],
    keys: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder with this peer's certificate and key", rich_help_panel=_IDENTITY),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="this peer's name; default: the one in its certificate", rich_help_panel=_IDENTITY),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="no TLS; only where all peers are on this machine", rich_help_panel=_IDENTITY),
    ] = False,
    force_insecure: Annotated[
        bool,
        typer.Option(
            "--force-insecure", help="no TLS between machines either: anyone may join", rich_help_panel=_IDENTITY
        ),
    ] = False,
    data_dir: flags.DataDir = None,
    round_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="longest wait for a neighbor's message of a round",
            rich_help_panel=flags.TRAINING,
        ),
    ] = 30.0,
    start_timeout: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="longest wait for all neighbors at the start", rich_help_panel=flags.TRAINING
        ),
    ] = 300.0,
    checkpoint_every: Annotated[
        int,
        typer.Option(min=1, metavar="ROUNDS", help="rounds between two checkpoints", rich_help_panel=flags.TRAINING),
    ] = 10,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="answer Prometheus at this port", rich_help_panel=flags.TRAINING),
    ] = None,
    metrics_address: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="address of --metrics-port; 0.0.0.0: all of this machine's, open to anyone who reaches them",
            rich_help_panel=flags.TRAINING,
        ),
    ] = "127.0.0.1",
    assignments: flags.Assignments = None,
    quiet: flags.Quiet = False,
) -> None:
    """Train this machine's nodes together with those of its neighbors, without any server.

    Start it on every machine. SIGTERM and Ctrl-C stop it with a checkpoint. Started again, also after a crash, it
    resumes and joins its neighbors in their round.
    """
    from ngpd_fl.config import Config, build_topology, parse_assignments
    from ngpd_fl.peer.prometheus import MetricsServer
    from ngpd_fl.peer.run import run_peer
    from ngpd_fl.peer.timeouts import NodeTimeouts
    from ngpd_fl.peer.transport import Address, HttpTransport, Peers, Routes
    from ngpd_fl.report.progress import reporting
    from ngpd_fl.training.callbacks import ProgressReport

    own = {"data.data_dir": data_dir} if data_dir is not None else {}
    settings = Config.load(config, own | parse_assignments(assignments or ()))
    everyone = Peers.read(peers)
    everyone.require_nodes(settings.topology.nodes)
    identity = _identity(keys, name, insecure=insecure or force_insecure, forced=force_insecure)
    own_peer = everyone[identity.name]
    routes = Routes.of(own_peer.name, everyone.hosts, build_topology(settings).edges)
    transport = HttpTransport(identity, everyone, routes)
    done = 0

    def say(line: str) -> None:
        print(f"{own_peer.name}: {line}", file=sys.stderr, flush=True)

    with reporting(own_peer.name, quiet) as report, stopping() as stop, ExitStack() as stack:
        metrics = None if metrics_port is None else MetricsServer(Address(metrics_address, metrics_port))
        if metrics is not None:
            stack.callback(metrics.close)

        def on_progress(progress: Any) -> None:
            nonlocal done
            done = progress.round
            report(progress)

        summary = run_peer(
            settings,
            own_peer.nodes,
            transport,
            out,
            [ProgressReport(on_progress), *([] if metrics is None else [metrics])],
            timeouts=NodeTimeouts(start_timeout, round_timeout),
            checkpoint_every=checkpoint_every,
            is_over=stop.is_set,
            on_event=say,
        )
    if summary["status"] == "interrupted":
        words = f"{own_peer.name} stopped after round {done} of {settings.training.rounds}; started again, it goes on"
        raise Ended(words, INTERRUPTED)
    if summary["status"] != "finished":
        raise Ended(f"{own_peer.name} {summary['status']} in round {done}; records are kept in {out}", FAILED)
    if not quiet:
        print_step(
            f"{own_peer.name} finished; records in {out}",
            "`ngpd-fl gather DIR... --out DIR` merges those of all peers",
        )


def _identity(keys: Path | None, name: str | None, *, insecure: bool, forced: bool) -> Credentials | Insecure:
    """Return this peer's identity: its certificate or, without TLS, its name."""
    from ngpd_fl.config import InputError
    from ngpd_fl.peer.transport import Credentials, Insecure

    if insecure:
        if keys is not None:
            raise InputError("keys: no TLS is wanted; give either --keys or --insecure")
        if name is None:
            raise InputError("name: say by --name which of the peers this is")
        return Insecure(name, forced=forced)
    if keys is None:
        raise InputError("keys: needed (`ngpd-fl deploy keys` makes them); --insecure is for a single machine")
    return Credentials.open(keys, name)


def gather(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="the peers' folders")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for the whole run's records, new or empty")],
    data_dir: flags.DataDir = None,
    trust_code: flags.TrustCode = False,
    quiet: flags.Quiet = False,
) -> None:
    """Merge the records of all peers into a run's folder like any other, for `show`, plots and reports.

    Copy the peers' folders to one machine first. Unfinished peers count with the rounds that they have done.
    """
    from ngpd_fl.cli.show import print_run
    from ngpd_fl.peer.merge import gather

    own = {} if data_dir is None else {"data.data_dir": data_dir}
    summary = gather(folders, out, own, trust_code=trust_code)
    draw(out, quiet, trust_code=trust_code)
    there = {node for peer in summary["peers"] for node in peer["nodes"]}
    if missing := sorted(set(range(summary["nodes"])) - there):
        print(f"no records of the nodes {', '.join(map(str, missing))}: left out", file=sys.stderr)
    if not quiet:
        print_run(out)
