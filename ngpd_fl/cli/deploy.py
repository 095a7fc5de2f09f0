"""``ngpd-fl deploy``: training on your own machines, as clients of Flower. See docs/how-to/deployment.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.flower import train_with_flower
from ngpd_fl.deploy import PORT

deploy = typer.Typer(no_args_is_help=True)

SuperLinkDir = Annotated[Path, typer.Argument(metavar="DIR", help="the folder superlink/ that `deploy keys` made")]
Port = Annotated[int, typer.Option(help="port of the SuperLink")]


@deploy.callback()
def options() -> None:
    """Train on your own machines: keys, long-running services, and runs."""


@deploy.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where the devices' folders are made")],
    nodes: Annotated[
        int | None, typer.Option(help="number of nodes in all; those that have their keys keep them")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="instead of --nodes: who takes part where there is no SuperLink")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="name or address under which nodes reach the SuperLink; repeatable")
    ] = None,
    days: Annotated[int, typer.Option(help="how long certificates are valid")] = 365,
) -> None:
    """Make certificates and keys: a folder for the SuperLink and one for each node, to be copied to their machines.

    With --peers one for each peer of that file. Run again with more of them, it makes the missing ones. Nothing is
    overwritten.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.deploy.folders import make_keys, make_peer_keys

    if (nodes is None) == (peers is None):
        raise InputError("deploy keys: give either --nodes or --peers")
    if peers is not None:
        from ngpd_fl.peer.transport import Peers

        if host:
            raise InputError("--host: is for the SuperLink; with --peers there is none")
        folders = make_peer_keys(folder, Peers.read(peers), days)
    else:
        folders = make_keys(folder, host or (), nodes or 0, days)
    for made in folders:
        print(made)


@deploy.command()
def superlink(
    folder: SuperLinkDir,
    host: Annotated[str, typer.Option(help="address to listen at; default: every one of this machine")] = "0.0.0.0",
    port: Port = PORT,
) -> None:
    """Keep the SuperLink running, and admit the nodes whose public keys lie in DIR/nodes."""
    from ngpd_fl.deploy.services import serve_superlink

    serve_superlink(folder, host, port)


@deploy.command()
def supernode(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder node0/, node1/, ... of this device")],
    superlink: Annotated[str, typer.Option(metavar="HOST:PORT", help="where the SuperLink is")],
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="folder that holds this node's data")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for the node's state; default: state/ in its folder")
    ] = None,
    peer_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="folder of its certificate and key for --data-plane direct; default: its folder"
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port for the node's own processes, on this machine only; default: 9094 + number")
    ] = None,
) -> None:
    """Keep this device's SuperNode running: it waits for runs, and comes back by itself."""
    from ngpd_fl.deploy.services import serve_supernode

    serve_supernode(folder, superlink, data_dir, state_dir, peer_keys, port)


@deploy.command()
@flags.with_config_flags(without=("flower.state_dir",))
def run(
    given: flags.ConfigFlags,
    folder: SuperLinkDir,
    port: Port = PORT,
    peers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="with --data-plane direct: who hosts which nodes, and where",
            rich_help_panel=flags.FLOWER,
        ),
    ] = None,
    out: flags.Out = None,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train on the nodes that are connected, and record it as `ngpd-fl run` does. Run this where the SuperLink runs."""
    from ngpd_fl.deploy.folders import SuperLinkFolder
    from ngpd_fl.deploy.services import connect
    from ngpd_fl.peer.transport import Peers

    settings = given.load()
    own = {} if peers is None else {"peers": Peers.read(peers).to_toml()}
    with connect(SuperLinkFolder.open(folder), port) as client:
        train_with_flower(settings, out, watch, quiet, {"superlink": client, **given.flower, **own})
