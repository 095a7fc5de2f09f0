"""Nodes whose images are turned or noisy: angles, noise, keys, and what is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from ngpd_fl.config import Config
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import Split, skew_features
from ngpd_fl.data.feature_skew import AT_ONCE, rotate
from ngpd_fl.training import compose
from strategies import Phase

PARTS = [np.array([0, 4, 7]), np.array([1, 2]), np.array([9, 5]), np.array([8])]  # 3 and 6 lie nowhere


def make_split(size: int = 10, dtype: torch.dtype = torch.float64) -> Split:
    inputs = torch.randn(size, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return Split(inputs, torch.arange(size))


def test_angles_grow_evenly_from_node_to_node() -> None:
    split = make_split()
    before = split.inputs.clone()
    skewed = skew_features(split, PARTS, rotation=270, noise=0, seed=0)
    for node, part in enumerate(PARTS):
        assert torch.equal(skewed.inputs[part], before[part].rot90(node, (-2, -1)))
    assert torch.equal(skewed.inputs[[3, 6]], before[[3, 6]])
    assert torch.equal(split.inputs, before) and torch.equal(skewed.labels, split.labels)


@pytest.mark.parametrize("degrees", [10.0, 45.0, 90.0, 135.5, 300.0])
@pytest.mark.parametrize("shape", [(7, 7), (6, 6), (5, 9)])
def test_a_turn_is_scipys(shape: tuple[int, int], degrees: float) -> None:
    """SciPy turns the axes (first, second) from the second towards the first: counter-clockwise on a screen."""
    image = torch.randn(1, 1, *shape, dtype=torch.float64)
    expected = scipy.ndimage.rotate(
        np.pad(image[0, 0].numpy(), 10), degrees, reshape=False, order=1, mode="constant"
    )  # padded: SciPy does not interpolate between the border and the outside
    turned = rotate(image, degrees)[0, 0].numpy()
    np.testing.assert_allclose(turned, expected[10:-10, 10:-10], atol=1e-9)


def test_quarter_turns_are_exact_and_agree_with_interpolation() -> None:
    image = torch.arange(4.0, dtype=torch.float64).view(1, 1, 2, 2)
    assert rotate(image, 90.0).flatten().tolist() == [1, 3, 0, 2]  # counter-clockwise
    assert torch.equal(rotate(image, 360.0), image) and torch.equal(rotate(image, 180.0), image.flip(-1, -2))
    torch.testing.assert_close(rotate(image, 90.0), rotate(image, 90.0 + 1e-9), rtol=0, atol=1e-7)
    wide = torch.randn(2, 1, 3, 6)
    assert torch.equal(rotate(wide, 180.0), wide.flip(-1, -2)) and rotate(wide, 90.0).shape == wide.shape


def test_noise_grows_evenly_and_is_keyed_by_node_and_image() -> None:
    split = make_split()
    skewed = skew_features(split, PARTS, rotation=0, noise=0.6, seed=3)
    for node, part in enumerate(PARTS):
        for image in part.tolist():
            normal = generator(3, Purpose.NOISE, node, image).standard_normal((2, 5, 5))
            expected = split.inputs[image] + torch.from_numpy(normal) * (0.6 * node / 3)
            torch.testing.assert_close(skewed.inputs[image], expected, rtol=0, atol=1e-12)


def test_an_image_looks_the_same_whatever_else_its_node_holds() -> None:
    split = make_split()
    fewer = [part[:1] for part in PARTS]
    kept = np.concatenate(fewer)
    one, other = (skew_features(split, parts, rotation=50, noise=1, seed=0) for parts in (PARTS, fewer))
    assert torch.equal(one.inputs[kept], other.inputs[kept])


def test_images_are_turned_before_they_get_noise() -> None:
    split = make_split()
    turned = skew_features(split, PARTS, rotation=90, noise=0, seed=0)
    both = skew_features(split, PARTS, rotation=90, noise=0.5, seed=0)
    then_noise = skew_features(turned, PARTS, rotation=0, noise=0.5, seed=0)
    assert torch.equal(both.inputs, then_noise.inputs)


def test_many_images_of_one_node() -> None:
    size = AT_ONCE + 10
    split = make_split(size, torch.float32)
    parts = [np.array([0]), np.arange(1, size)]
    skewed = skew_features(split, parts, rotation=180, noise=0, seed=0)
    assert torch.equal(skewed.inputs[1:], split.inputs[1:].flip(-1, -2)) and skewed.inputs.dtype == torch.float32


def test_nothing_wanted_is_nothing_done() -> None:
    split = make_split()
    assert skew_features(split, PARTS, rotation=0, noise=0, seed=0) is split


def test_noise_is_not_for_images_only() -> None:
    split = Split(torch.zeros(10, 3), torch.arange(10))
    assert skew_features(split, PARTS, rotation=0, noise=1, seed=0).inputs[8].std() > 0


def test_an_image_on_two_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="two nodes"):
        skew_features(make_split(), [np.array([0, 1]), np.array([1])], rotation=90, noise=0, seed=0)


def test_a_run_trains_on_skewed_images_and_is_judged_on_plain_ones() -> None:
    data = {"rotation": 90.0, "noise": 0.1}
    topology = {"name": "ring", "nodes": 4}
    plain, skewed = compose(Config(topology=topology)), compose(Config(topology=topology, data=data))
    assert torch.equal(plain.evaluated.inputs, skewed.evaluated.inputs)
    assert torch.equal(plain.dataset.train.inputs, skewed.dataset.train.inputs)
    (before, _), _ = plain.minibatches(torch.arange(4), [0] * 4, Phase())
    (after, _), _ = skewed.minibatches(torch.arange(4), [0] * 4, Phase())
    assert torch.equal(after[0], before[0])
    noise = after[3] - before[3].rot90(1, (-2, -1))
    assert 0.09 < float(noise.std()) < 0.11
