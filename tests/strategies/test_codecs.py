"""Codecs against brute force, exact integers and statistics."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from strategies.compression.codecs import kept, make_key, quantize, random_k, restore, scrambled, spread, top_k
from strategies.compression.options import AnyCompression, Quantize, RandomK, TopK

CODECS: list[AnyCompression] = [
    TopK(keep=0.25),
    TopK(keep=1e-9),
    RandomK(keep=0.5),
    Quantize(bits=2),
    Quantize(bits=4),
    Quantize(bits=8),
]
KEY = make_key(torch.tensor(3), torch.tensor(4))


def vectors() -> Tensor:
    """Normal ones, heavy-tailed ones, one of zeros and one of equal sizes; 13 entries."""
    normal = torch.randn(40, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.cat([normal, normal**5, torch.zeros(1, 13), torch.tensor([[3.0, -3.0] * 6 + [3.0]])])


def through(codec: AnyCompression, vector: Tensor, key: Tensor) -> Tensor:
    return codec.decode(codec.encode(vector, key), key, vector.shape[-1])


def error(codec: AnyCompression, vector: Tensor, key: Tensor = KEY) -> Tensor:
    return (through(codec, vector, key.expand(vector.shape[:-1])) - vector).square().sum(-1)


def test_top_k_keeps_what_no_other_choice_beats() -> None:
    for vector in vectors()[:50]:
        found = error(TopK(keep=4 / 13), vector)
        best = min(sum(vector[i] ** 2 for i in left) for left in itertools.combinations(range(13), 9))
        torch.testing.assert_close(found, torch.as_tensor(best))


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 1.0])
def test_top_k_contracts_by_its_share_exactly_so_where_all_are_equal(share: float) -> None:
    norms, delta = vectors().square().sum(-1), kept(share, 13) / 13
    errors = error(TopK(keep=share), vectors())
    assert (errors <= (1 - delta) * norms + 1e-12).all()
    torch.testing.assert_close(errors[-1], (1 - delta) * norms[-1])


def test_random_k_contracts_by_its_share_in_the_mean_and_shrinks_without_bias() -> None:
    vector, keys = vectors()[0], make_key(torch.arange(20000), torch.tensor(7))
    decoded = through(RandomK(keep=4 / 13), vector.expand(20000, -1), keys)
    deviation = vector.abs() * (4 / 13 * 9 / 13 / 20000) ** 0.5
    assert ((decoded.mean(0) - 4 / 13 * vector).abs() < 4 * deviation).all()
    mean_error = (decoded - vector).square().sum(-1).mean()
    torch.testing.assert_close(mean_error, (1 - 4 / 13) * vector.square().sum(), rtol=0.02, atol=0)


@pytest.mark.parametrize("of_nodes", [False, True])
def test_random_k_picks_every_set_equally_often(of_nodes: bool) -> None:
    """Ten sets of two of five, by rounds or by senders: chi-squared with 9 degrees of freedom, below its 0.9999."""
    many, one = torch.arange(20000), torch.tensor(5)
    keys = make_key(one, many) if of_nodes else make_key(many, one)
    sets = Counter(tuple(sorted(each)) for each in random_k(keys, 2, 5).tolist())
    assert len(sets) == 10
    assert sum((count - 2000) ** 2 / 2000 for count in sets.values()) < 33.7


def test_choices_of_different_rounds_and_senders_are_independent() -> None:
    """Of 2 x 300 of 1000 entries 90 are expected in both, with deviation 8."""
    rounds = [make_key(torch.tensor(r), torch.tensor(s)) for r in range(4) for s in range(4)]
    chosen = [set(random_k(key, 300, 1000).tolist()) for key in rounds]
    assert all(len(each) == 300 for each in chosen)
    for one, other in itertools.combinations(chosen, 2):
        assert 50 < len(one & other) < 130


def test_the_scrambling_is_splitmix64() -> None:
    assert scrambled(torch.tensor(0x9E3779B97F4A7C15 - (1 << 64))).item() % (1 << 64) == 0xE220A8397B1DCDAF  # its first

    def exact(number: int) -> int:
        number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
        number = (number ^ (number >> 27)) * 0x94D049BB133111EB % (1 << 64)
        return number ^ (number >> 31)

    numbers = [*range(-50, 50), (1 << 63) - 1, -(1 << 63)]
    assert [each % (1 << 64) for each in scrambled(torch.tensor(numbers)).tolist()] == [
        exact(each % (1 << 64)) for each in numbers
    ]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantize_takes_the_nearest_level(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    for vector in vectors():
        levels = vector.abs().max() * torch.arange(-top, top + 1) / top
        nearest = (vector[:, None] - levels).abs().amin(1)
        found = restore(quantize(vector, bits), bits, 13)
        torch.testing.assert_close((found - vector).abs(), nearest, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantize_contracts(bits: int) -> None:
    norms, largest = vectors().square().sum(-1), vectors().abs().amax(-1)
    errors = error(Quantize.model_validate({"bits": bits}), vectors())
    assert (errors <= (1 - 1 / 13) * norms + 1e-12).all()
    assert (errors <= 13 * (largest / (2**bits - 2)) ** 2 + 1e-9).all()


@pytest.mark.parametrize(("bits", "size"), [(2, 4), (4, 7), (8, 13)])
def test_codes_are_packed(bits: int, size: int) -> None:
    codes = quantize(vectors(), bits)
    assert codes.codes.shape == (len(vectors()), size) and codes.codes.dtype == torch.uint8
    assert codes.step.shape == (len(vectors()),)


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stacked_is_one_by_one_and_types_stay(codec: AnyCompression, dtype: torch.dtype) -> None:
    many = vectors().to(dtype)
    keys = make_key(torch.arange(len(many)), torch.tensor(1))
    one_by_one = torch.stack([through(codec, vector, key) for vector, key in zip(many, keys, strict=True)])
    assert one_by_one.dtype == dtype
    assert torch.equal(vmap(lambda vector, key: through(codec, vector, key))(many, keys), one_by_one)
    assert torch.equal(through(codec, many, keys), one_by_one)


def test_places_that_are_not_there_raise_nothing() -> None:
    wild = torch.tensor([-5, 2, 99], dtype=torch.int32)
    assert spread(torch.ones(3), wild, 4).tolist() == [1, 0, 1, 1]


def test_one_entry_at_least_is_kept() -> None:
    assert [kept(share, 20) for share in (1e-9, 0.1, 0.5, 1.0)] == [1, 2, 10, 20]
    assert top_k(torch.tensor([1.0, -2.0]), kept(1e-9, 2)).values.tolist() == [-2.0]
