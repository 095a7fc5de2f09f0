"""Philox 4x32-10 on tensors: random words as a pure function of a key, on any device and under ``torch.func.vmap``.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. torch's own generators have a state
and other numbers on each device; ``core.randomness`` draws on the host. These are for masks as large as a layer, which
would have to be copied from there.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Word = Tensor | int


def philox(counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]) -> tuple[Tensor, ...]:
    """Return the four words of each counter: each an int64 tensor of numbers in ``0 .. 2**32 - 1``.

    Args:
        counter: words of 32 bits in int64 tensors that broadcast together, or numbers; the first is a tensor.
        key: the same.
    """
    first, second, third, fourth = counter
    keys = list(key)
    for _ in range(_ROUNDS):
        # as int64 a product of two words may be negative; its bits are those of the unsigned one
        left, right = _MULTIPLIERS[0] * first, _MULTIPLIERS[1] * third
        first, second, third, fourth = (
            (right >> 32) & _MASK ^ second ^ keys[0],
            right & _MASK,
            (left >> 32) & _MASK ^ fourth ^ keys[1],
            left & _MASK,
        )
        keys = [(word + step) & _MASK for word, step in zip(keys, _WEYL, strict=True)]
    return tuple(torch.as_tensor(word) for word in (first, second, third, fourth))


def random_bits(key: Tensor, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Return random words in ``0 .. 2**32 - 1``, int64 ``[*shape]``.

    Args:
        key: two words, int64 ``[2]``.
        stream: number of these words among those of the key.
        shape: theirs.
    """
    size = torch.Size(shape).numel()
    blocks = torch.arange((size + 3) // 4, device=key.device)
    drawn = philox((blocks, stream, 0, 0), (key[0], key[1]))
    return torch.stack(drawn, -1).flatten()[:size].view(shape)
