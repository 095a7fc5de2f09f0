"""Example messages: their shapes and bytes, before anything is computed."""

from __future__ import annotations

import networkx as nx
import torch
from torch import Tensor

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.engines.blocks import make_blocks
from strategies import RoundView, Strategy, message_dtype, sent_dtype
from strategies.contract import Message
from topologies import Topology


def example_message(strategy: Strategy, start: Tensor) -> Message:
    """Return the messages between two neighbors at ``start [P]``: each field ``[2, 1, ...]`` or ``[2, ...]``."""
    (block,) = make_blocks(Topology([nx.path_graph(2)]), lambda *degrees: 1.0, None, start)
    ones = torch.ones(2, 1, dtype=start.dtype, device=start.device)
    yes = ones.bool()
    views = RoundView(torch.zeros_like(block.nodes), yes, yes, ones[:, 0] / 2, ones / 2, ones / 2)
    state = over_nodes(strategy.init)(start.expand(2, -1), block.view)
    return over_nodes(strategy.outgoing)(state, block.view, views)


def example_payload(strategy: Strategy, start: Tensor) -> Message:
    """Return the message over one directed edge at ``start [P]``, its fields without an axis of nodes or slots."""
    per_edge = strategy.options.needs.per_edge
    message = example_message(strategy, start)
    return type(message)(
        **{name: value[0, 0] if name in per_edge else value[0] for name, value in message._asdict().items()}
    )


def message_bytes(strategy: Strategy, start: Tensor) -> dict[str, int]:
    """Return the payload in bytes of one message over one directed edge, as it goes over the wire, by field."""
    values, dtype = example_payload(strategy, start)._asdict(), message_dtype(strategy.options)
    return {name: value.numel() * sent_dtype(value, dtype).itemsize for name, value in values.items()}
