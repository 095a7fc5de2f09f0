"""Mutations of files by a seed, as by an adversary, a full disk or a typing error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "\x1b[2J", "é" * 70, "a\nb", "\ud800", "0", "-1", "9" * 400, "y" * 5000, "package.module:name"),
    *([], {}, [[]], [None], {"": None}, [1, "a", 2.5], {"name": 3}, [[1, 2], [3]]),
)
"""Values that are odd in any place of a file."""

ODD_BYTES: tuple[bytes, ...] = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"0x" + b"f" * 5000, b"null", b"true", b"-1"),
    *(b"[" * 3000, b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000, b"a." * 3000 + b"b = 1\n", b"z" * 5000),
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b'"',
        b"'",
        b"\n",
        b"\r",
        b",",
        b"{",
        b"}",
        b"#",
        b"\\ud800",
    ),
)
"""Bytes that are odd in any place of a file."""


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a file's content with some of its bytes cut, altered, repeated or put in."""
    for _ in range(draw.randint(1, 3)):
        begin = draw.randint(0, len(content))
        end = min(len(content), begin + draw.choice((0, 1, 1, 2, 8, 64, len(content))))
        kind = draw.randrange(5)
        if kind == 0:
            content = content[:begin] + content[end:]
        elif kind == 1:
            content = content[:begin] + bytes(draw.randrange(256) for _ in content[begin:end][:64]) + content[end:]
        elif kind == 2:
            content = content[:end] + content[begin:end] + content[end:]
        else:
            content = content[:begin] + draw.choice(ODD_BYTES) + content[end:]
    return content


def json_mutated(content: bytes, draw: random.Random) -> bytes:
    """Return JSON, or lines of it, with some values replaced, left out, or put under further keys."""
    lines = (
        content.splitlines()
        if content.count(b"\n") > 1 and content[:1] == b"{" and content[1:2] != b"\n"
        else [content]
    )
    place = draw.randrange(len(lines))
    lines[place] = _altered(json.loads(lines[place]), draw, lambda value: json.dumps(value).encode())
    return b"\n".join(lines) + b"\n"


def _altered(found: Any, draw: random.Random, dumped: Callable[[Any], bytes]) -> bytes:
    for _ in range(draw.randint(1, 2)):
        inside = list(_containers(found))
        if not inside or draw.random() < 0.02:
            return dumped(deepcopy(draw.choice(ODD_VALUES)))
        container = draw.choice(inside)
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        if not keys:
            continue
        key = draw.choice(keys)
        kind = draw.randrange(6)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, list):
            container.append(deepcopy(draw.choice(ODD_VALUES)))
        elif kind == 1:
            container[draw.choice(("", "name", "odd", "k" * 3000))] = deepcopy(draw.choice(ODD_VALUES))
        elif kind == 2 and isinstance(container[key], int | float):
            container[key] = str(container[key])
        else:
            container[key] = deepcopy(draw.choice(ODD_VALUES))
    return dumped(found)


def _containers(found: Any) -> Any:
    if isinstance(found, dict | list):
        yield found
        for inner in found.values() if isinstance(found, dict) else found:
            yield from _containers(inner)


def toml_mutated(content: bytes, draw: random.Random) -> bytes:
    """Return TOML with some values replaced, or keys put before others."""
    lines = content.splitlines()
    for _ in range(draw.randint(1, 2)):
        place = draw.randrange(len(lines))
        key, equals, _ = lines[place].partition(b"=")
        value = draw.choice((*ODD_BYTES, json.dumps(deepcopy(draw.choice(ODD_VALUES))).encode()))
        lines[place] = key + b"= " + value if equals else value
    return b"\n".join(lines) + b"\n"


def tensors_mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a ``.safetensors`` file whose header says something else of the same bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json_mutated(content[8 : 8 + size], draw).replace(b"F32", draw.choice(_TYPES))
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


_TYPES = (b"F32", b"F32", b"F64", b"BF16", b"I32", b"U16", b"BOOL", b"F8_E4M3", b"F4", b"C64", b"nothing")
