"""Sequences of sparse graphs after which every node holds the exact mean of all.

In each round a node has k neighbors at most, and the product of the rounds' symmetric weight matrices is 11^T / n.
Takezawa, Sato, Bao, Niwa, Yamada, "Beyond exponential graph: communication-efficient topologies for decentralized
learning via finite-time convergence", NeurIPS 2023: ``hyper_hypercube`` is its algorithm 1, ``simple_base_graph``
algorithm 2 and ``base_graph`` algorithm 3. A single node needs no round.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain, combinations

Edges = list[tuple[int, int, float]]
"""A round's graph: (i, j, W_ij) of each edge, with W_ji = W_ij and W_ii what is left of the row."""


def hyper_hypercube(nodes: Sequence[int], max_degree: int) -> list[Edges]:
    """Return the rounds of the k-peer hyper-hypercube graph, as few as there can be.

    With n = n_1 ... n_L, n_l <= k + 1, a node's place is a number with L digits, the l-th one below n_l. In round l
    nodes that differ in this digit only average evenly. At most max(1, 2 log_{k+2} n) rounds, because two factors
    whose product is k + 1 or less would be one.

    Args:
        nodes: n different nodes; n has no prime factor above k + 1.
        max_degree: k.
    """
    factors = fewest_factors(len(nodes), max_degree + 1)
    if factors is None:
        raise ValueError(f"{len(nodes)} has a prime factor above {max_degree + 1}")
    rounds = []
    stride = 1
    for size in factors:
        starts = [start for start in range(len(nodes)) if start // stride % size == 0]
        rounds.append(_cliques([nodes[start : start + stride * size : stride] for start in starts]))
        stride *= size
    return rounds


def simple_base_graph(nodes: Sequence[int], max_degree: int) -> list[Edges]:
    """Return the rounds of the simple Base-(k+1) graph for any number of nodes: 2 log_{k+1}(n) + 2 at most.

    Where n has no prime factor above k + 1 it is the hyper-hypercube. Else n = sum_l a_l (k+1)^p_l is written to the
    base k + 1, with p_1 > p_2 > ..., and the nodes form parts V_l of a_l blocks of (k+1)^p_l nodes each:

    1. Each part reaches its own mean.
    2. In a round for each l but the last, every node of V_{l+1}, V_{l+2}, ... is joined to one node in each block of
       V_l, with the weight with which their mean, and that of each block, become the mean of all.
    3. Each block of V_l reaches its mean while the later parts have their rounds of step 2.

    Idle nodes average with nodes that hold the same value, over existing edges.

    Args:
        nodes: n different nodes.
        max_degree: k.
    """
    if fewest_factors(len(nodes), max_degree + 1) is not None:
        return hyper_hypercube(nodes, max_degree)
    parts = _parts(nodes, max_degree + 1)
    wholes = [list(chain(*blocks)) for blocks in parts]
    among_parts = [hyper_hypercube(whole, max_degree) for whole in wholes]
    among_blocks = [_beside([hyper_hypercube(block, max_degree) for block in blocks]) for blocks in parts]
    last = len(parts) - 1
    rounds = [list(chain(*(_turn(own, number) for own in among_parts))) for number in range(len(among_parts[0]))]
    for step in range(len(among_blocks[0]) + 1):
        edges: Edges = []
        for part in range(last):
            if part == step:
                edges += _meet(parts[part], list(chain(*wholes[part + 1 :])), max_degree)
            elif part < step:
                edges += _turn(among_blocks[part], step - part - 1)
        if step >= last:
            edges += _turn(among_parts[last], step - last)
        rounds.append(edges)
    return rounds


def base_graph(nodes: Sequence[int], max_degree: int) -> list[Edges]:
    """Return the rounds of the Base-(k+1) graph for any number of nodes: never more than the simple one has.

    With n = p q, where p has no prime factor above k + 1 and q no other: p simple Base-(k+1) graphs of q nodes side by
    side, then a hyper-hypercube over each p nodes that have the same place in them; or the simple Base-(k+1) graph of
    all nodes, where that is shorter.

    Args:
        nodes: n different nodes.
        max_degree: k.
    """
    rough = len(nodes)
    for factor in range(2, max_degree + 2):
        while rough % factor == 0:
            rough //= factor
    groups = [nodes[start : start + rough] for start in range(0, len(nodes), rough)]
    within = _beside([simple_base_graph(group, max_degree) for group in groups])
    across = _beside([hyper_hypercube(peers, max_degree) for peers in zip(*groups, strict=True)])
    simple = simple_base_graph(nodes, max_degree)
    return simple if len(simple) < len(within) + len(across) else within + across


@cache
def fewest_factors(number: int, largest: int) -> tuple[int, ...] | None:
    """Return the fewest factors from 2 to ``largest`` whose product is the number; None where there are none.

    Large ones come first, where there is a choice: then the first p rounds of a ``largest``^p nodes, a < ``largest``,
    are those of its a blocks, which adds no edge to the union graph.
    """
    if number == 1:
        return ()
    products = [
        (factor, *others)
        for factor in range(min(number, largest), 1, -1)
        if number % factor == 0 and (others := fewest_factors(number // factor, largest)) is not None
    ]
    return min(products, key=len, default=None)


def _parts(nodes: Sequence[int], base: int) -> list[list[Sequence[int]]]:
    """Divide the nodes into parts of blocks, a block of base^p nodes for each unit of a digit p of their number."""
    size = 1
    while size * base <= len(nodes):
        size *= base
    parts = []
    start = 0
    while start < len(nodes):
        count = (len(nodes) - start) // size
        if count:
            parts.append([nodes[start + number * size : start + (number + 1) * size] for number in range(count)])
        start += count * size
        size //= base
    return parts


def _meet(blocks: Sequence[Sequence[int]], others: Sequence[int], max_degree: int) -> Edges:
    """Join each of the other nodes to one node of each block, so that their and each block's mean is that of all.

    All nodes of the blocks hold the same value, x, and the others have the mean y. With m nodes in a block, b blocks
    and r others, the mean of all is x + r (y - x) / (m b + r), and that of a block becomes x + r w (y - x) / m: so
    w = m / (m b + r). There are more nodes in a block than others; those that are left average among themselves.
    """
    size = len(blocks[0])
    weight = size / (size * len(blocks) + len(others))
    edges = [(i, j, weight) for block in blocks for i, j in zip(block, others, strict=False)]
    groups = [
        block[max(start, len(others)) : start + max_degree + 1]
        for block in blocks
        for start in range(0, size, max_degree + 1)
    ]
    return edges + _cliques(groups)


def _cliques(groups: Sequence[Sequence[int]]) -> Edges:
    """Let each group average evenly."""
    return [(i, j, 1 / len(group)) for group in groups for i, j in combinations(group, 2)]


def _beside(sequences: Sequence[Sequence[Edges]]) -> list[Edges]:
    """Unite sequences of the same length, round by round."""
    return [list(chain(*edges)) for edges in zip(*sequences, strict=True)]


def _turn(rounds: Sequence[Edges], number: int) -> Edges:
    """Return a round of a sequence that begins again after its last; nothing where it has none."""
    return rounds[number % len(rounds)] if rounds else []
