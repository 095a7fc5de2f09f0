"""Messages of a round: every node gets what was meant for it, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ngpd_fl.engines.blocks import Block, make_blocks
from ngpd_fl.engines.round_messages import RoundMessages
from tests.support.pretend_device import PretendDevice, to_host
from topologies import parse_topology

WHEEL = [[0, 1], [1, 2], [2, 3], [0, 3], [0, 4], [1, 4], [2, 4], [3, 4]]


class Message(NamedTuple):
    """``to_one`` differs per neighbor, ``to_all`` does not."""

    to_one: Tensor
    to_all: Tensor


@pytest.mark.parametrize("chunk_size", [None, 1, 2])
@pytest.mark.parametrize("topology", [{"name": "edges", "nodes": 5, "edges": WHEEL}, {"name": "star", "nodes": 5}])
def test_every_slot_gets_what_its_neighbor_sent_to_it(topology: dict[str, object], chunk_size: int | None) -> None:
    graph = parse_topology(topology).build(seed=0)
    blocks = make_blocks(graph, lambda own, other: 1.0, chunk_size, torch.zeros(0, dtype=torch.float64))
    messages = RoundMessages(("to_one",), blocks, len(graph.edges), graph.num_nodes)
    for _ in range(2):  # buffers are used again
        for block in blocks:
            rows = block.nodes[:, None].expand(block.view.neighbor.shape)
            to_one = torch.stack([rows, block.view.neighbor], dim=-1).double() + 1
            to_all = block.nodes.to(torch.float32)[:, None, None].expand(-1, 2, 3) + 1
            messages.put(block, Message(to_one, to_all))
        for number, block in enumerate(blocks):
            received = block.view.exists.clone()
            received[0, 0] = number % 2 == 0
            inbox = messages.take(block, received)
            assert isinstance(inbox, Message)
            assert inbox.to_one.shape == (*received.shape, 2) and inbox.to_all.shape == (*received.shape, 2, 3)
            for row, slot in [(r, s) for r in range(received.shape[0]) for s in range(received.shape[1])]:
                node, other = int(block.nodes[row]), int(block.view.neighbor[row, slot])
                kept = bool(received[row, slot])
                assert inbox.to_one[row, slot].tolist() == ([other + 1, node + 1] if kept else [0, 0])
                assert (inbox.to_all[row, slot] == (other + 1 if kept else 0)).all()


def test_messages_between_devices_and_to_other_processes() -> None:
    """Nodes 0 to 3 of a ring of 6 lie on two devices; 4 and 5 are elsewhere. A slot without a message reads zeros."""
    graph = parse_topology({"name": "ring", "nodes": 6}).build(seed=0)
    with PretendDevice(devices=2):
        devices = [torch.device("cuda", index) for index in range(2)]
        blocks = make_blocks(graph, lambda own, other: 1.0, None, torch.zeros(0), [0, 1, 2, 3], devices)
        messages = RoundMessages(("to_one",), blocks, len(graph.edges), graph.num_nodes)
        for block in blocks:
            to_one = torch.stack([block.nodes[:, None].expand(block.view.neighbor.shape), block.view.neighbor], dim=-1)
            messages.put(block, Message(to_one.double() + 1, block.nodes.double()[:, None] + 1))
        messages.exchange()
        edge_to = {(other, node): edge for other, node, edge in _edges(blocks)}
        out_edge = {node: edge_to[other, node] ^ 1 for node, other in ((0, 5), (3, 4))}
        sent = messages.payload(list(out_edge.values()), [0, 3])
        assert {edge: value.tolist() for edge, value in sent["to_one"].items()} == {
            out_edge[0]: [1, 6],
            out_edge[3]: [4, 5],
        }
        assert {node: value.tolist() for node, value in sent["to_all"].items()} == {0: [1], 3: [4]}
        come = {edge_to[5, 0]: torch.tensor([6.0, 1.0]).double(), edge_to[4, 3]: torch.tensor([5.0, 4.0]).double()}
        to_all = {5: torch.tensor([6.0]).double(), 4: torch.tensor([5.0]).double()}
        messages.deliver({"to_one": come, "to_all": to_all}, come.keys(), to_all.keys())
        for lost in (False, True):
            for block in blocks:
                inbox = messages.take(block, block.view.exists & (not lost))
                shown = [to_host(field) for field in (block.nodes, block.view.neighbor, *inbox)]
                for node, others, to_one, to_all_of in zip(*shown, strict=True):
                    for other, one, of_all in zip(others.tolist(), to_one.tolist(), to_all_of.tolist(), strict=True):
                        assert (one, of_all) == (([0, 0], [0]) if lost else ([other + 1, int(node) + 1], [other + 1]))


def _edges(blocks: list[Block]) -> list[tuple[int, int, int]]:
    """Return each message that the nodes read: sender, receiver, directed edge."""
    return [
        (other, node, edge)
        for block in blocks
        for node, others, edges in zip(
            *(to_host(field).tolist() for field in (block.nodes, block.view.neighbor, block.in_edge)), strict=True
        )
        for other, edge in zip(others, edges, strict=True)
    ]
