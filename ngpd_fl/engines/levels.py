"""Events that can be computed together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ngpd_fl.clock import Event, Read, Work
from ngpd_fl.engines.in_flight import Key


def levels_of(events: Iterable[Event]) -> Iterator[tuple[list[Work], list[Read]]]:
    """Yield works and reads level by level; what an event needs lies in a level before its own."""
    of_node: dict[int, int] = defaultdict(int)
    of_message: dict[Key, int] = {}
    levels: dict[int, tuple[list[Work], list[Read]]] = defaultdict(lambda: ([], []))
    for event in events:
        if isinstance(event, Work):
            level = of_node[event.node] = of_node[event.node] + 1
            of_message.update(dict.fromkeys(event.sends, level))
            levels[level][0].append(event)
        elif isinstance(event, Read):
            needed = (of_message.get((taken.edge, taken.sequence), 0) for taken in event.taken)
            level = of_node[event.node] = max(of_node[event.node], *needed, 0) + 1
            levels[level][1].append(event)
    for level in sorted(levels):
        yield levels[level]
