"""Reading of untrusted TOML, JSON and JSON Lines.

Files may come from another machine or another person. So their size, the depth of nested values and the length of
integers are bounded. Every error is an ``InputError`` that names the file.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ngpd_fl.config.errors import InputError, one_line

LARGEST = 64 << 20
"""Bytes of a file, or of a line where a file is read line by line."""

DEEPEST = 64
"""Levels of nested values, and parts of a dotted key, at most."""

_WHOLE = 1 << 64
"""Whole numbers are smaller in size."""

_TOO_DEEP, _TOO_LONG = f"nested deeper than {DEEPEST} levels", "a whole number has more than 64 bits"

_BOMS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
"""Byte-order marks of encodings other than UTF-8, the longest first."""

_NOT_KEYS = re.compile(
    r"""
    \#[^\n]*+
    | \"{3}(?:[^"\\]++|\\.?|"(?!""))*+(?:"{3,5}|\Z)
    | '{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)
    | "(?:[^"\\\n]++|\\[^\n]?)*+"?
    | '[^'\n]*+'?
    """,
    re.VERBOSE | re.DOTALL,
)
"""Comments and strings of TOML, which may hold what looks like keys; the parser stops at those that do not end."""

_BETWEEN_KEYS = re.compile(r"[,{}\[\]=\n]")


def decoded(content: bytes) -> str:
    """Return UTF-8 as text, without a byte-order mark; raise ``ValueError`` in words where it is something else."""
    for mark, name in _BOMS.items():
        if content.startswith(mark):
            raise ValueError(f"is {name} text; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text, at byte {error.start}") from error
    if "\0" in text:
        raise ValueError("holds null bytes, as UTF-16 text does; save it as UTF-8")
    return text


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of TOML; raise ``ValueError`` in words where it is not valid, or nested too deep."""
    keys = _BETWEEN_KEYS.split(_NOT_KEYS.sub("", text))
    if any(key.count(".") > DEEPEST for key in keys):  # the parser would need time for them as their square
        raise ValueError(f"a key has more than {DEEPEST} parts")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:  # Python converts no number of so many digits
        raise ValueError(_TOO_LONG) from error
    _require_bounded(content, finite=False)
    return content


def parse_value(text: str) -> Any:
    """Return a value of the command line: TOML (``0.1``, ``[64, 32]``) or else a plain string.

    Raises:
        ValueError: it is TOML beyond the bounds, or further lines come after it.
    """
    try:
        content = parse_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if "\n" in text or not _is_encodable(text):
            raise ValueError("a plain string should be one line of UTF-8") from None
        return text
    if content.keys() != {"value"}:
        raise ValueError("further lines come after the value; give each key by itself")
    return content["value"]


def parse_json(text: str, *, strict: bool = True) -> Any:
    """Return the value of JSON; raise ``ValueError`` in words where it is not valid, or nested too deep.

    Args:
        text: of one value.
        strict: whether numbers must be finite, which 1e999 is not, and whole ones have at most 64 bits.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        raise ValueError(_TOO_LONG) from error
    _require_bounded(value, whole=strict, finite=strict)
    return value


def expanded(path: Path) -> Path:
    """Return a path of a configuration with ``~`` as the home folder; a user who is not known stays as written."""
    return Path(os.path.expanduser(path))


def require_file(path: Path) -> None:
    """Raise ``InputError`` unless the path is a regular file: reading a device or a pipe might never end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # no file can have such a path
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a file")


def read_text(path: Path, kind: str) -> str:
    """Return a file's text; raise ``InputError`` where it cannot be read.

    Args:
        path: of the file.
        kind: its name in the error, with a space behind; empty for a file of the records.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"is larger than {LARGEST >> 20} MiB")
        return decoded(content)
    except OSError as error:
        raise InputError(f"{kind}{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # also of a path that no file can have
        raise InputError(f"{kind}{path}: {error}") from error


def read_toml(path: Path, kind: str = "config file") -> dict[str, Any]:
    """Return a TOML file's content; raise ``InputError`` with one line where it cannot be read.

    Args:
        path: of the file.
        kind: its name in the error.
    """
    text = read_text(path, f"{kind} ")
    try:
        return parse_toml(text)
    except ValueError as error:
        raise InputError(f"{kind} {path}: not valid TOML ({error})") from error


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; raise ``InputError`` where it cannot be read."""
    require_file(path)
    text = read_text(path, "")
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error})") from error


def read_record(
    path: Path,
    shape: type[BaseModel],
    current: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """Return a JSON object of the records, with all its keys; raise ``InputError`` where it does not have the shape.

    Args:
        path: of the file.
        shape: of the object.
        current: turns an object of an earlier version into one of this version.
        strict: as ``parse_json`` has it.
    """
    require_file(path)
    text = read_text(path, "")
    try:
        values = parse_json(text, strict=strict)
        return conforming(current(values) if isinstance(values, Mapping) else values, shape)
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error})") from error


def read_json_lines(path: Path, *, cut: bool = True) -> Iterator[tuple[int, Any]]:
    """Yield the values of a file that has one a line, with the lines' numbers.

    Args:
        path: of the file.
        cut: whether a last line without an end was cut off by a crash, and is left out.

    Raises:
        InputError: the file cannot be read, or a line is damaged.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LARGEST + 1):
                number += 1
                if len(line) > LARGEST:
                    raise InputError(f"{path}: line {number} is longer than {LARGEST >> 20} MiB")
                if cut and not line.endswith(b"\n"):
                    return
                try:
                    value = parse_json(decoded(line))
                except ValueError as error:
                    raise InputError(f"{path}: line {number} is damaged ({error})") from error
                yield number, value
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def conforming(value: Any, shape: type[BaseModel]) -> dict[str, Any]:
    """Return a parsed object unchanged; raise ``ValueError`` in words where it does not have the shape."""
    if not isinstance(value, Mapping):
        raise ValueError("not a JSON object")
    try:
        shape.model_validate(value)
    except ValidationError as error:
        raise ValueError(one_line(error, shape)) from error
    return dict(value)


def _require_bounded(content: Any, *, whole: bool = True, finite: bool) -> None:
    """Raise ``ValueError`` where values are nested too deep, or one of them cannot be worked with."""
    level = [content]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                if not _is_encodable(value):
                    raise ValueError("a string holds half of a character")
                if "\0" in value:
                    raise ValueError("a string holds a null character")
            elif isinstance(value, int):
                if whole and not -_WHOLE < value < _WHOLE:
                    raise ValueError(_TOO_LONG)
            elif finite and isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is not finite")
        if not inner:
            return
        level = inner
    raise ValueError(_TOO_DEEP)


def _is_encodable(text: str) -> bool:
    """Return whether UTF-8 can hold a text; half of a surrogate pair it cannot."""
    return text.isascii() or text.encode("utf-8", "ignore").decode() == text
