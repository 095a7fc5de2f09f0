"""The feed of a data set: keyed by node and step, whatever is asked together or before."""

from __future__ import annotations

import numpy as np
import torch

from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import Split
from ngpd_fl.engines import DataMinibatches
from ngpd_fl.engines.minibatches import draw
from strategies import Phase

PARTS = [np.arange(0, 5), np.arange(5, 20), np.arange(20, 30)]
REFRESH = Phase(refresh_factors=True)


def make_feed() -> DataMinibatches:
    inputs = torch.arange(30, dtype=torch.float64)[:, None, None, None]
    return DataMinibatches(Split(inputs, torch.arange(30)), PARTS, batch_size=4, seed=1)


def test_a_node_gets_the_same_alone_and_among_others_and_in_any_order() -> None:
    together, alone = make_feed(), make_feed()
    for steps in ([3, 3, 3], [0, 7, 2]):
        (inputs, labels), draws = together(torch.tensor([2, 0, 1]), steps, REFRESH)
        for row, node in ((2, 1), (0, 2), (1, 0)):
            step = steps[row]
            (own_inputs, own_labels), own_draws = alone(torch.tensor([node]), [step], REFRESH)
            assert torch.equal(inputs[row], own_inputs[0]) and torch.equal(labels[row], own_labels[0])
            assert torch.equal(draws[row], own_draws[0])
            assert set(own_labels[0].tolist()) <= set(PARTS[node].tolist())
            assert torch.equal(own_inputs[0].flatten().long(), own_labels[0])
            expected = generator(1, Purpose.LABELS, node, step).random(4)
            assert own_draws[0].tolist() == expected.tolist()


def test_label_draws_are_made_where_factors_are_refreshed() -> None:
    feed = make_feed()
    assert (feed(torch.tensor([0, 1]), [0, 0], Phase())[1] == 0).all()
    draws = feed(torch.tensor([0, 1]), [0, 0], REFRESH)[1]
    assert draws.dtype == torch.float64 and len(set(draws.flatten().tolist())) == 8


def test_a_round_drawn_at_once_is_what_its_steps_are_by_their_keys() -> None:
    """Against the permutations and draws of the keys themselves; a round goes through several epochs of small nodes."""
    nodes, firsts, phases = [2, 0, 1], [5, 0, 7], [REFRESH, Phase(), Phase(), REFRESH]
    drawn = make_feed().draw(nodes, firsts, phases)
    for rows in (slice(None), slice(1, 3)):
        for step, phase in enumerate(phases):
            (inputs, labels), draws = drawn(step, rows)
            for row, (node, first) in enumerate(list(zip(nodes, firsts, strict=True))[rows]):
                epochs = [generator(1, Purpose.BATCH, node, epoch).permutation(PARTS[node]) for epoch in range(12)]
                begin = 4 * (first + step)
                assert labels[row].tolist() == np.concatenate(epochs)[begin : begin + 4].tolist()
                assert torch.equal(inputs[row].flatten().long(), labels[row])
                uniform = generator(1, Purpose.LABELS, node, first + step).random(4)
                assert draws[row].tolist() == (uniform if phase == REFRESH else np.zeros(4)).tolist()


def test_a_feed_of_single_steps_gives_whole_rounds_as_well() -> None:
    feed, phases = make_feed(), [REFRESH, Phase()]
    whole, single = draw(feed, [2, 0, 1], [5, 0, 7], phases), draw(feed.__call__, [2, 0, 1], [5, 0, 7], phases)
    for step in range(2):
        (inputs, labels), draws = whole(step, slice(1, 3))
        (same_inputs, same_labels), same_draws = single(step, slice(1, 3))
        assert torch.equal(inputs, same_inputs) and torch.equal(labels, same_labels) and torch.equal(draws, same_draws)
