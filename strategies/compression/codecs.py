"""Codecs: compression of vectors, as pure functions on ``[..., P]``: one call serves one vector or many.

With Q(x) what is read back of x, each is a contraction, |Q(x) - x|^2 <= (1 - delta) |x|^2:

    top-k       the k entries of largest magnitude                delta = k / P
    random-k    k entries that a key picks, all sets alike        delta = k / P in the mean over keys, E Q(x) = k/P x
    quantize    b bits: the nearest of 2^b - 1 equally spaced     delta = 1 / P at least; where |x_i| <= m,
                levels between -m and m, m = max |x_i|            |Q(x) - x|^2 <= P (m / (2^b - 2))^2

(Stich, Cordonnier, Jaggi, "Sparsified SGD with memory", NeurIPS 2018, for the first two; levels as in Alistarh, Grubic,
Li, Tomioka, Vojnovic, "QSGD", NeurIPS 2017, but always the nearest: what compresses differences needs a contraction
rather than an unbiased value.) No entry of random-k leaves without its key, which tells the receiver which they are.
"""

from __future__ import annotations

from typing import NamedTuple

from strategies.lazy_torch import Tensor, torch

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FACTORS = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)))


class Sparse(NamedTuple):
    """Entries ``values [..., k]`` at ``indices [..., k]``, int32."""

    values: Tensor
    indices: Tensor


class Codes(NamedTuple):
    """Levels in units of ``step [...]``, packed: ``codes [..., ceil(P b / 8)]``, uint8."""

    codes: Tensor
    step: Tensor


def kept(share: float, size: int) -> int:
    """Return k, the number of entries that are a share of ``size``; one at least."""
    return max(1, round(share * size))


def top_k(vector: Tensor, count: int) -> Sparse:
    """Return the ``count`` entries of each ``vector [..., P]`` of largest magnitude."""
    indices = vector.abs().topk(count, dim=-1).indices
    return Sparse(vector.gather(-1, indices), indices.to(torch.int32))


def spread(values: Tensor, indices: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """Return vectors ``[..., P]``, P = ``size``, with ``values [..., k]`` at ``indices [..., k]``, else ``fill``."""
    blank = torch.full_like(values[..., :1], fill).expand(*values.shape[:-1], size)
    return blank.scatter(-1, indices.long().clamp(0, size - 1), values)  # an index off the wire may be anything


def scrambled(number: Tensor) -> Tensor:
    """Return a one-to-one scrambling of int64 numbers (Steele, Lea, Flood, "Fast splittable generators", 2014).

    Integer arithmetic alone, hence the same on every machine and device.
    """
    for shift, factor in _FACTORS:
        number = (number ^ _shifted(number, shift)) * factor
    return number ^ _shifted(number, 31)


def make_key(round: Tensor, source: Tensor) -> Tensor:
    """Return the key, int64, of what a ``source`` sends in a ``round``, both integers ``[...]``."""
    return scrambled(scrambled(round.long() * _GOLDEN) + source)


def random_k(key: Tensor, count: int, size: int) -> Tensor:
    """Return ``count`` of the numbers below ``size``, int64 ``[..., count]``, picked by each ``key [...]``.

    The largest of the scrambled numbers key + 1 .. key + size (in units): these differ, so that there are no ties.
    """
    steps = torch.arange(1, size + 1, device=key.device) * _GOLDEN
    return scrambled(key[..., None] + steps).topk(count, dim=-1).indices


def quantize(vector: Tensor, bits: int) -> Codes:
    """Return each ``vector [..., P]`` as the nearest levels, of ``bits`` 2, 4 or 8 each."""
    top, weights = _levels(bits, vector)
    step = vector.abs().amax(-1) / top
    codes = (vector / torch.where(step > 0, step, 1)[..., None]).round().clamp(-top, top) + top
    codes = torch.nn.functional.pad(codes, (0, -vector.shape[-1] % len(weights)))
    return Codes((codes.reshape(*codes.shape[:-1], -1, len(weights)) @ weights).to(torch.uint8), step)


def restore(codes: Codes, bits: int, size: int) -> Tensor:
    """Return the vectors ``[..., P]``, P = ``size``, that ``quantize`` turned into these codes."""
    top, weights = _levels(bits, codes.step)
    shifts = torch.arange(0, 8, bits, device=codes.codes.device)
    levels = (codes.codes.long()[..., None] >> shifts) & (2 * top + 1)
    return (levels.flatten(-2)[..., :size] - top) * codes.step[..., None]


def _shifted(number: Tensor, bits: int) -> Tensor:
    """Return int64 numbers shifted to the right as unsigned ones."""
    return (number >> bits) & ((1 << (64 - bits)) - 1)


def _levels(bits: int, like: Tensor) -> tuple[int, Tensor]:
    """Return the highest level, and what each of the codes in a byte is worth there."""
    return 2 ** (bits - 1) - 1, (2.0 ** torch.arange(0, 8, bits, device=like.device)).to(like.dtype)
