"""Peers of a run and their addresses: one TOML file that all machines share.

[[peers]]
address = "192.168.1.10:7447"
nodes = [0]

[[peers]]
address = "board1.local:7447"
nodes = [1]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from ngpd_fl.config import InputError, Section, choices, one_line, parse_toml, read_toml
from ngpd_fl.core.address import Address

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


class Peer(Section):
    """A process that hosts nodes."""

    nodes: tuple[Annotated[int, Field(ge=0)], ...] = Field(description="the nodes that it hosts")
    address: str = Field(description="HOST:PORT under which its neighbors reach it")
    listen: str | None = Field(
        None, description="HOST:PORT at which it listens if that differs from its address, e.g. 0.0.0.0:7447"
    )
    name: str = Field("", description="name in its certificate; unset: node and the number of its first node")

    @field_validator("address", "listen")
    @classmethod
    def _is_address(cls, text: str | None) -> str | None:
        return None if text is None else str(Address.of(text))

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.nodes:
            raise ValueError("nodes: should name at least one")
        if not self.name:
            object.__setattr__(self, "name", f"node{self.nodes[0]}")  # frozen only from now on
        if not _NAME.fullmatch(self.name) or self.name == "ca":
            raise ValueError(f"name: should be lower-case letters, digits, - and ., and not ca (got {self.name!r})")
        return self

    @property
    def listens_at(self) -> Address:
        """The address at which it listens."""
        return Address.of(self.listen or self.address)


class Peers(Section):
    """All peers of a run."""

    peers: tuple[Peer, ...] = Field(description="one for each process")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; raise ``InputError`` with one line if it is invalid."""
        try:
            return cls(**read_toml(path, "peers file"))
        except ValidationError as error:
            raise InputError(f"peers file {path}: {one_line(error, cls)}") from None

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse the file's content, as ``to_toml`` returns it; raise ``InputError`` if it is invalid."""
        try:
            return cls(**parse_toml(text))
        except ValidationError as error:
            raise InputError(f"peers: {one_line(error, cls)}") from None
        except ValueError as error:
            raise InputError(f"peers: not valid TOML ({error})") from error

    def to_toml(self) -> str:
        """Return the file's content, without unset keys."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if not self.peers:
            raise ValueError("peers: should name at least one")
        _once("node", (node for peer in self.peers for node in peer.nodes))
        _once("address", (peer.address for peer in self.peers))
        _once("name", (peer.name for peer in self.peers))
        return self

    @cached_property
    def hosts(self) -> dict[int, str]:
        """Node -> name of the peer that hosts it."""
        return {node: peer.name for peer in self.peers for node in peer.nodes}

    def __getitem__(self, name: str) -> Peer:
        """Return the peer of a name; raise ``InputError`` if there is none."""
        for peer in self.peers:
            if peer.name == name:
                return peer
        names = [str(peer.name) for peer in self.peers]
        raise InputError(f"peer {name}: is not in the peers file; {choices(name, names)}")

    def require_nodes(self, number: int) -> None:
        """Raise ``InputError`` unless the nodes are 0 to ``number`` - 1."""
        if unknown := sorted(set(self.hosts) - set(range(number))):
            raise InputError(f"peers: node {unknown[0]} is not in the topology; allowed: 0 to {number - 1}")
        if missing := sorted(set(range(number)) - set(self.hosts)):
            raise InputError(f"peers: node {missing[0]} of the topology is hosted by none")


def _once(what: str, values: Iterable[int | str]) -> None:
    if twice := [value for value, times in Counter(values).items() if times > 1]:
        raise ValueError(f"{what} {twice[0]} is there twice")
