"""Crops and flips of whole minibatches against a loop over images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import Split, draw_moves, load_dataset, move
from ngpd_fl.data.augmentation import Moves
from ngpd_fl.engines import DataMinibatches
from strategies import Phase

CPU = torch.device("cpu")


def one_by_one(images: Tensor, seed: int, nodes: list[int], steps: list[int], crop: int, flip: bool) -> Tensor:
    """The same, image by image: pad with 0, cut a window out, mirror it."""
    moved = images.clone()
    height, width = images.shape[-2:]
    for row, (node, step) in enumerate(zip(nodes, steps, strict=True)):
        draws = generator(seed, Purpose.AUGMENTATION, node, step).random((images.shape[1], 3))
        for column, (first, second, third) in enumerate(draws):
            top, left = int(first * (2 * crop + 1)), int(second * (2 * crop + 1))
            window = pad(images[row, column], (crop,) * 4)[:, top : top + height, left : left + width]
            moved[row, column] = window.flip(-1) if flip and third < 0.5 else window
    return moved


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("crop, flip", [(0, True), (2, False), (2, True), (4, True)])
def test_batched_is_one_by_one(crop: int, flip: bool, dtype: torch.dtype) -> None:
    images = torch.randn(3, 10, 2, 5, 7, dtype=dtype)
    nodes = [4, 0, 9]
    moves = draw_moves(7, nodes, [3, 3, 5], 10, crop=crop, flip=flip, device=CPU)
    before = images.clone()
    assert torch.equal(move(images, moves), one_by_one(images, 7, nodes, [3, 3, 5], crop, flip))
    assert torch.equal(images, before)


def test_every_shift_and_both_sides_are_drawn_equally_often() -> None:
    moves = draw_moves(0, range(10), [0] * 10, 4000, crop=2, flip=True, device=CPU)
    for shift in (moves.down, moves.right):
        counts = torch.bincount(shift.flatten() + 2)
        assert len(counts) == 5 and ((counts / 8000 - 1).abs() < 0.05).all()
    assert abs(float(moves.mirror.float().mean()) - 0.5) < 0.02


def test_nothing_wanted_moves_nothing() -> None:
    images = torch.randn(2, 3, 1, 4, 4)
    moves = draw_moves(0, [0, 1], [5, 5], 3, crop=0, flip=False, device=CPU)
    assert torch.equal(move(images, moves), images)


def test_shifts_do_not_depend_on_flips() -> None:
    with_flips = draw_moves(1, [3], [2], 20, crop=3, flip=True, device=CPU)
    without = draw_moves(1, [3], [2], 20, crop=3, flip=False, device=CPU)
    assert torch.equal(with_flips.down, without.down) and torch.equal(with_flips.right, without.right)
    assert torch.equal(with_flips.mirror, draw_moves(1, [3], [2], 20, crop=0, flip=True, device=CPU).mirror)


def test_a_window_by_hand() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 1, 2, 2)
    moves = Moves(torch.tensor([[1]]), torch.tensor([[0]]), torch.tensor([[True]]))
    assert move(image, moves).view(2, 2).tolist() == [[4, 3], [0, 0]]


def make_feed(**wanted: Any) -> DataMinibatches:
    inputs = torch.randn(30, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [np.arange(0, 5), np.arange(5, 20), np.arange(20, 30)]
    return DataMinibatches(Split(inputs, torch.arange(30)), parts, batch_size=8, seed=1, **wanted)


def test_the_feed_moves_its_images_and_nothing_else() -> None:
    nodes, phase = torch.tensor([2, 0, 1]), Phase(refresh_factors=True)
    (plain, labels), draws = make_feed()(nodes, [4, 0, 4], phase)
    (moved, same_labels), same_draws = make_feed(crop=2, flip=True)(nodes, [4, 0, 4], phase)
    assert torch.equal(moved, one_by_one(plain, 1, [2, 0, 1], [4, 0, 4], 2, True)) and not torch.equal(moved, plain)
    assert torch.equal(labels, same_labels) and torch.equal(draws, same_draws)


def test_a_node_gets_the_same_images_alone_and_among_others() -> None:
    together, alone = make_feed(crop=2, flip=True), make_feed(crop=2, flip=True)
    for steps in ([3, 3, 3], [0, 2, 1]):
        (images, _), _ = together(torch.tensor([2, 0, 1]), steps, Phase())
        for row, node in ((2, 1), (0, 2), (1, 0)):
            assert torch.equal(images[row], alone(torch.tensor([node]), [steps[row]], Phase())[0][0][0])


def test_a_round_drawn_at_once_moves_each_step_as_alone() -> None:
    drawn = make_feed(crop=2, flip=True).draw([2, 0, 1], [3, 0, 7], [Phase()] * 3)
    for step in range(3):
        expected = make_feed(crop=2, flip=True)(torch.tensor([0, 1]), [step, 7 + step], Phase())[0][0]
        assert torch.equal(drawn(step, slice(1, 3))[0][0], expected)


def test_a_shift_must_leave_a_part_of_the_image() -> None:
    with pytest.raises(InputError, match=r"^data.crop: 8 pixels is all of an image \(1, 8, 8\); allowed: below 8$"):
        load_dataset(DataConfig(crop=8), seed=0)
    load_dataset(DataConfig(crop=7), seed=0)


@pytest.mark.gpu
def test_images_on_the_gpu_are_the_same() -> None:
    images = torch.randn(2, 6, 3, 8, 8)
    on_cpu, on_gpu = (
        move(images.to(device), draw_moves(0, [1, 5], [2, 2], 6, crop=2, flip=True, device=device))
        for device in (CPU, torch.device("cuda"))
    )
    assert torch.equal(on_gpu.cpu(), on_cpu)
