"""Direct runs, whose nodes exchange messages directly under Flower's supervision: parts for client and server."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.flower.run_config import FlowerConfig, check_for_flower
from ngpd_fl.peer.run import check_for_peers
from ngpd_fl.peer.transport import Peer, Peers

_PORTS = range(20_000, 32_000)
"""Ports for peers of a simulation: below those that systems and Ray assign themselves, so that a port stays free."""


def check(config: Config, flower: FlowerConfig) -> None:
    """Raise ``InputError`` if a run cannot go through Flower with these settings."""
    if flower.data_plane == "direct":
        check_for_peers(config)
        everyone = peers_of(config, flower)
        for client in range(flower.num_clients(config.topology.nodes)):
            peer_of(client, everyone, config, flower)
    elif flower.peers is not None:
        raise InputError("peers: are for data-plane direct (got relay)")
    else:
        check_for_flower(config)


def peers_of(config: Config, flower: FlowerConfig) -> Peers:
    """Return the peers of the run; raise ``InputError`` if they are not given, or do not fit the network."""
    if flower.peers is None:
        raise InputError("peers: data-plane direct needs to know where the nodes are; name the peers file by --peers")
    everyone = Peers.of(flower.peers)
    everyone.require_nodes(config.topology.nodes)
    return everyone


def peer_of(client: int, everyone: Peers, config: Config, flower: FlowerConfig) -> Peer:
    """Return a client's peer; raise ``InputError`` if no peer has exactly its nodes."""
    nodes = flower.hosted(client, config.topology.nodes)
    for peer in everyone.peers:
        if set(peer.nodes) == set(nodes):
            return peer
    raise InputError(
        f"peers: client {client} hosts the nodes {', '.join(map(str, nodes))} (nodes-per-client is "
        f"{flower.nodes_per_client}), and no peer has just these"
    )


def loopback_peers(config: Config, flower: FlowerConfig) -> Peers:
    """Return peers for a simulation on this machine, one for each client, at free ports."""
    clients = flower.num_clients(config.topology.nodes)
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(ports) == clients:
            break
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    nodes = [list(flower.hosted(client, config.topology.nodes)) for client in range(clients)]
    entries: Any = [
        {"address": f"127.0.0.1:{port}", "nodes": hosted} for port, hosted in zip(ports, nodes, strict=True)
    ]
    return Peers(peers=entries)
