"""Feature skew: images rotated and made noisy by a different amount at each node, like those of different cameras.

Node 0 keeps its images; angle and noise grow linearly up to the last node. An image belongs to one node and never
changes during a run, so the training images are transformed once, before the run.

Only training images are transformed. Evaluation uses the unchanged images of ``evaluation.split``. A node's "own
distribution" in evaluation is that of its labels, without its angle and noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data.dataset import Split

AT_ONCE = 1024
"""Images; bounds the memory."""


def skew_features(
    split: Split, parts: Sequence[NDArray[np.int64]], *, rotation: float, noise: float, seed: int
) -> Split:
    """Return the training images, transformed for the nodes that hold them.

    Args:
        split: the training images, in the engine's dtype and on its device; they are not changed.
        parts: per node, the indices of its images; no image lies on two nodes.
        rotation: angle of the last node's images, in degrees counter-clockwise; node i's is i / (N - 1) of it.
        noise: standard deviation of the Gaussian noise on the last node's inputs; on node i's i / (N - 1) of it. It is
            keyed by (seed, node, image).
        seed: the run's seed.
    """
    if not (rotation or noise):
        return split
    held = np.concatenate(parts)
    if len(np.unique(held)) != len(held):
        raise ValueError("an image that lies on two nodes cannot look different at each")
    inputs = split.inputs.clone()
    last = max(len(parts) - 1, 1)
    for node, part in enumerate(parts):
        degrees, deviation = rotation * node / last, noise * node / last
        for start in range(0, len(part), AT_ONCE) if degrees or deviation else ():
            names = part[start : start + AT_ONCE]
            indices = torch.as_tensor(names, device=inputs.device)
            images = rotate(inputs[indices], degrees) if degrees else inputs[indices]
            if deviation:
                images = images + deviation * _normal(seed, node, names, images)
            inputs[indices] = images
    return Split(inputs, split.labels)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Return images ``[M, C, H, W]`` rotated counter-clockwise about their center; pixels from outside are 0.

    Values between pixels are interpolated bilinearly. Quarter turns move pixels and compute nothing (where height and
    width differ: half turns).
    """
    height, width = images.shape[-2:]
    quarters = degrees / 90
    if quarters.is_integer() and (height == width or quarters % 2 == 0):
        return images.rot90(int(quarters) % 4, dims=(-2, -1))
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Coordinates of the pixels' middles, in pixels from the image's middle; y points down.
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    source = torch.stack([2 * (cos * x - sin * y) / width, 2 * (sin * x + cos * y) / height], dim=-1)  # [H, W, 2]
    grid = source.to(images).expand(len(images), -1, -1, -1)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _normal(seed: int, node: int, names: NDArray[np.int64], like: Tensor) -> Tensor:
    """Return standard normal numbers of the shape of ``like``, each image's a function of (seed, node, image)."""
    values = np.empty(like.shape)
    for row, image in zip(values, names.tolist(), strict=True):
        generator(seed, Purpose.NOISE, node, image).standard_normal(out=row)
    return torch.from_numpy(values).to(like)
