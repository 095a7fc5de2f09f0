"""Options ``compress``: the codecs of messages, for the algorithms whose theory allows them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from strategies.compression.codecs import Codes, Sparse, kept, quantize, random_k, restore, spread, top_k
from strategies.lazy_torch import Tensor


class Compression(BaseModel):
    """Base of the codecs: their options, and how vectors ``[..., P]`` go over the wire."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str

    parts: ClassVar[type[Any]]
    """The named tuple that a vector becomes."""

    has_key: ClassVar[bool] = False
    """Whether both ends need a key, which then travels with the message."""

    @property
    @abstractmethod
    def gossip_step(self) -> float:
        """Gamma where none is given: well below what was unstable in trials of averaging alone."""

    @abstractmethod
    def encode(self, vector: Tensor, key: Tensor) -> Any:
        """Return the parts that stand for each ``vector [..., P]``, by its ``key [...]``."""

    @abstractmethod
    def decode(self, parts: Any, key: Tensor, size: int) -> Tensor:
        """Return the vectors ``[..., P]``, P = ``size``, that parts stand for."""


class _Keep(Compression):
    keep: float = Field(0.1, gt=0, le=1, description="share of the entries that are sent, one at least")


class TopK(_Keep):
    """The entries of largest magnitude, each with its index."""

    name: Literal["top-k"] = "top-k"
    parts: ClassVar[type[Any]] = Sparse

    @property
    def gossip_step(self) -> float:
        """Return twice the share that is sent, up to 1."""
        return min(1.0, 2 * self.keep)

    def encode(self, vector: Tensor, key: Tensor) -> Sparse:
        """Return the largest entries."""
        return top_k(vector, kept(self.keep, vector.shape[-1]))

    def decode(self, parts: Sparse, key: Tensor, size: int) -> Tensor:
        """Return them at their indices, else zero."""
        return spread(parts.values, parts.indices, size)


class Values(NamedTuple):
    """Entries ``values [..., k]`` whose indices follow from a key."""

    values: Tensor


class RandomK(_Keep):
    """Entries that a key picks; the key travels in place of their indices."""

    name: Literal["random-k"] = "random-k"
    parts: ClassVar[type[Any]] = Values
    has_key: ClassVar[bool] = True

    @property
    def gossip_step(self) -> float:
        """Return half the share that is sent where that is small, 1 where all is sent."""
        return self.keep / (2 - self.keep)

    def encode(self, vector: Tensor, key: Tensor) -> Values:
        """Return the entries that the key picks."""
        indices = random_k(key, kept(self.keep, vector.shape[-1]), vector.shape[-1])
        return Values(vector.gather(-1, indices))

    def decode(self, parts: Values, key: Tensor, size: int, fill: float = 0.0) -> Tensor:
        """Return them at their indices, else ``fill``."""
        return spread(parts.values, random_k(key, parts.values.shape[-1], size), size, fill)


class Quantize(Compression):
    """Every entry in a few bits."""

    name: Literal["quantize"] = "quantize"
    bits: Literal[2, 4, 8] = Field(4, description="bits for each number: 2, 4 or 8")
    parts: ClassVar[type[Any]] = Codes

    @property
    def gossip_step(self) -> float:
        """Return a smaller step for fewer bits."""
        return {2: 0.3, 4: 0.5, 8: 1.0}[self.bits]

    def encode(self, vector: Tensor, key: Tensor) -> Codes:
        """Return the nearest levels."""
        return quantize(vector, self.bits)

    def decode(self, parts: Codes, key: Tensor, size: int) -> Tensor:
        """Return the levels' values."""
        return restore(parts, self.bits, size)


AnyCompression = TopK | RandomK | Quantize
"""Any codec as an option, told apart by its ``name``."""
