"""Random crops and flips of training minibatches: keyed, and for all images of all nodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.core.randomness import Purpose, generator


class Moves(NamedTuple):
    """The changes made to each image of a minibatch of n nodes.

    Attributes:
        down: rows by which the crop's window lies below the image's top, int64 ``[n, B]``; above it: below 0.
        right: likewise columns, int64 ``[n, B]``.
        mirror: whether left and right of the window change places, bool ``[n, B]``.
    """

    down: Tensor
    right: Tensor
    mirror: Tensor


def draw_moves(
    seed: int,
    nodes: Sequence[int],
    steps: Sequence[int],
    batch_size: int,
    *,
    crop: int,
    flip: bool,
    device: torch.device,
) -> Moves:
    """Draw the moves of ``nodes`` (n of them), a function of (seed, node, step).

    Crops and flips come from numbers of their own: with or without the other, the one is the same.

    Args:
        seed: the run's seed.
        nodes: their indices.
        steps: each one's local step.
        batch_size: B, images per node.
        crop: the largest shift, in pixels and both ways; 0: none.
        flip: whether images are mirrored, each with probability 1/2.
        device: where the moves are needed.
    """
    uniform = np.empty((len(nodes), batch_size, 3))
    for row, node, step in zip(uniform, nodes, steps, strict=True):
        generator(seed, Purpose.AUGMENTATION, node, step).random(out=row)
    shift = np.floor(uniform[..., :2] * (2 * crop + 1)).astype(np.int64) - crop
    mirror = (uniform[..., 2] < 0.5) & flip
    down, right = torch.from_numpy(shift).to(device).unbind(-1)
    return Moves(down, right, torch.from_numpy(mirror).to(device))


def move(images: Tensor, moves: Moves) -> Tensor:
    """Return the windows of images ``[n, B, C, H, W]``, each as large as its image; what lies outside is 0.

    That is torchvision's ``RandomCrop(size, padding)`` and ``RandomHorizontalFlip`` of normalized images, in which 0
    is the mean color. Numbers are moved, not computed: the result is exact on every device.
    """
    num_nodes, batch_size, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) + moves.down[..., None]  # [n, B, H]
    columns = torch.arange(width, device=images.device)
    columns = torch.where(moves.mirror[..., None], columns.flip(0), columns) + moves.right[..., None]  # [n, B, W]
    inside = _inside(rows, height)[..., :, None] & _inside(columns, width)[..., None, :]  # [n, B, H, W]
    place = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
    shape = (num_nodes, batch_size, channels, height * width)
    moved = images.reshape(shape).gather(-1, place.flatten(-2)[:, :, None].expand(shape)).view(images.shape)
    return moved.masked_fill_(~inside[:, :, None], 0)


def _inside(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)
