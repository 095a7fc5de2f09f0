"""Philox on tensors against the known answers of its authors, and against itself in Python's integers."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from ngpd_fl.core.philox import philox, random_bits

LARGEST = 2**32 - 1

# counter, key and result, as in the file kat_vectors of the authors' Random123
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((LARGEST,) * 4, (LARGEST,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def reference(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The same in Python, whose integers have no end."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for number in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        b0, b1 = (k0 + number * 0x9E3779B9) % 2**32, (k1 + number * 0xBB67AE85) % 2**32
        c0, c1, c2, c3 = right // 2**32 ^ c1 ^ b0, right % 2**32, left // 2**32 ^ c3 ^ b1, left % 2**32
    return c0, c1, c2, c3


def reference_words(key: tuple[int, ...], stream: int, size: int) -> list[int]:
    blocks = (reference((block, stream, 0, 0), key) for block in range((size + 3) // 4))
    return [word for block in blocks for word in block][:size]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    first, *others = (torch.tensor([word]) for word in counter)
    found = philox((first, *others), (torch.tensor(key[0]), torch.tensor(key[1])))  # type: ignore[arg-type]
    assert tuple(word.item() for word in found) == expected == reference(counter, key)


@pytest.mark.parametrize("size", [1, 4, 7, 50])
def test_words_of_many_keys_at_once(size: int) -> None:
    keys = torch.tensor([[3, LARGEST], [2**31, 17]])
    together = vmap(lambda key: random_bits(key, 5, (size, 1)))(keys)
    for key, found in zip(keys, together, strict=True):
        assert found.shape == (size, 1)
        assert found.flatten().tolist() == reference_words(tuple(key.tolist()), 5, size)
        assert torch.equal(random_bits(key, 5, (size, 1)), found)


def test_words_are_uniform_and_those_of_two_streams_are_not_alike() -> None:
    drawn = torch.stack([random_bits(torch.tensor([1, 2]), stream, (40000,)) for stream in range(2)]).double() / 2**32
    assert (drawn.mean(1) - 0.5).abs().max() < 4 * (1 / 12 / 40000) ** 0.5
    assert (drawn.var(1) - 1 / 12).abs().max() < 0.003
    assert torch.corrcoef(drawn)[0, 1].abs() < 4 / 200
