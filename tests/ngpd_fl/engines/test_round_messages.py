"""Messages of a round: every node gets what was meant for it, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.round_messages import RoundMessages
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
