"""Errors of user input: one line that names the key, what is wrong and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_LONGEST_WORD, _LONGEST = 300, 1500
"""Largest number of characters of a word, and of a whole message."""


class InputError(ValueError):
    """User input cannot be used. The message is one line for the user; the exit code is 2.

    Whatever it quotes, it stays one line of bounded length that a terminal can show.
    """

    def __init__(self, message: str) -> None:
        """Shorten the message to one line."""
        super().__init__(shortened(message))


def shortened(text: str) -> str:
    """Return a message as one line in which long words, and then the line, lose their middles.

    Characters that cannot be printed, such as control sequences of a terminal, are written as escapes.
    """
    words = (_cut(word, _LONGEST_WORD) for word in text.split())
    return _cut(printable(" ".join(words)), _LONGEST)


def printable(text: str) -> str:
    """Return text with escapes in the place of what cannot be printed, such as control sequences of a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t\xa0" else char.encode("unicode_escape").decode() for char in text
    )


def cause(error: Exception) -> str:
    """Return an unexpected error in a few words."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 300 else text[:297] + '...'}"


def _cut(text: str, length: int) -> str:
    end = (length - 3) // 3
    return text if len(text) <= length else f"{text[: length - 3 - end]}...{text[-end:]}"


def suggestion(given: object, names: Iterable[str]) -> str:
    """Return e.g. ``did you mean 'ring'?`` where a name is close to the given one or begins with it, else ``""``."""
    lower, by_lower = str(given).lower(), {name.lower(): name for name in names}
    near = get_close_matches(lower, by_lower, n=1, cutoff=0.7)
    if not near and len(lower) > 2:
        near = [name for name in by_lower if name.startswith(lower)]
    return f"did you mean {by_lower[near[0]]!r}?" if near else ""


def choices(given: object, names: Iterable[str], more: str = "") -> str:
    """Return the alternatives to an unknown name, e.g. ``did you mean 'ring'? allowed: ring, star``.

    Args:
        given: the name.
        names: those that are allowed.
        more: words about further ones, put behind the names.
    """
    known = list(names)
    return " ".join(filter(None, [suggestion(given, known), f"allowed: {', '.join(known)}{more}"]))


def one_line(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Return pydantic's findings as one line: ``key: what is wrong (got value); key: ...``.

    Args:
        error: what pydantic found.
        model: the class that was validated.
        prefix: the section that it stands for, if it is not the whole configuration.
    """
    return "; ".join(_finding(entry, model, prefix) for entry in _joined(error))


def _joined(error: ValidationError) -> list[dict[str, Any]]:
    """Return pydantic's error entries, with one for each value that may be a number or a word such as ``auto``."""
    entries: list[dict[str, Any]] = [dict(entry) for entry in error.errors(include_url=False)]
    words = {
        entry["loc"][:-1]: entry["ctx"]
        for entry in entries
        if entry["type"] == "literal_error" and str(entry["loc"][-1]).startswith("literal[")
    }
    joined = []
    for entry in entries:
        if (word := words.get(entry["loc"][:-1])) is None:
            joined.append(entry)
        elif entry["type"] != "literal_error":
            message = f"{entry['msg'].partition(',')[0]}, or {word['expected']}"
            joined.append({**entry, "loc": entry["loc"][:-1], "msg": message, "ctx": word})
    return joined


def _finding(entry: dict[str, Any], model: type[BaseModel], prefix: str) -> str:
    """Return one of pydantic's error entries as ``key: what is wrong (got value)``."""
    key = ".".join([prefix] * bool(prefix) + [str(part) for part in _location(entry)])
    kind, given = entry["type"], entry["input"]
    if kind == "extra_forbidden":
        last, known = entry["loc"][-1], _allowed_keys(model, entry["loc"][:-1])
        places = [] if suggestion(last, known) else _places(last, model)
        if len(entry["loc"]) > 1:  # of another section, if no other two have it
            others = [place for place in places if not place.startswith(f"{entry['loc'][0]}.")]
            places = others if len(others) == 1 else []
        place = places[0] if places else ""
        return f"{key}: unknown key; {f'did you mean {place!r}? ' * bool(place)}{choices(last, known)}"
    if kind == "missing":
        return f"{key}: {'a value is missing' if isinstance(entry['loc'][-1], int) else 'this key is required'}"
    if kind == "union_tag_not_found":
        return f"{key}.name: this key is required"
    if kind == "union_tag_invalid":
        return f"{key}.name: {given['name']!r} is not known; {choices(given['name'], _quoted(entry, 'expected_tags'))}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key}: should be a section of keys (got {_shown(given)})"
    if kind == "tuple_type":
        return f"{key}: should be a list (got {_shown(given)})"
    if kind == "value_error":
        message = str(entry["ctx"]["error"])
        if not key or isinstance(entry["ctx"]["error"], InputError):  # names its key in full
            return message
        return f"{key}.{message}" if re.match(r"\w+: ", message) else f"{key}: {message}"
    hint = suggestion(given, _quoted(entry, "expected")) if "expected" in entry.get("ctx", ()) else ""
    got = "; ".join(filter(None, [_shown(given), hint]))
    return f"{key}: {entry['msg'][0].lower()}{entry['msg'][1:]} (got {got})"


def _quoted(entry: dict[str, Any], what: str) -> list[str]:
    """Return the names that pydantic lists in quotes."""
    return re.findall(r"'([^']*)'", str(entry["ctx"][what]))


def _allowed_keys(model: type[BaseModel], section: tuple[str | int, ...]) -> list[str]:
    """Return the keys of a section, given its path: field names and, for a choice of classes, their names."""
    candidates = [model]
    for part in section:
        if isinstance(part, int):  # an index in a list, whose item class is a candidate already
            continue
        fields = [kind.model_fields[part] for kind in candidates if isinstance(part, str) and part in kind.model_fields]
        if fields:
            candidates = [kind for field in fields for kind in _kinds(field.annotation)]
        else:
            candidates = [kind for kind in candidates if kind.model_fields["name"].default == part]
    return list(dict.fromkeys(key for kind in candidates for key in kind.model_fields))


def _places(key: object, model: type[BaseModel]) -> list[str]:
    """Return a key in full for each section that has it, e.g. ``training.rounds`` for ``rounds``."""
    places = []
    for section, field in model.model_fields.items():
        classes = [kind for kind in _kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for kind in classes:
            classes += kind.__subclasses__()  # the options of each strategy, of each topology
        if any(key in kind.model_fields for kind in classes):
            places.append(f"{section}.{key}")
    return places


def _kinds(annotation: Any) -> list[Any]:
    """Return the classes that an annotation names; of a list, those of its items."""
    return [kind for kind in get_args(annotation) or (annotation,) if kind not in (..., NoneType)]


def _shown(given: Any) -> str:
    """Return a value as the user wrote it, cut where it is long."""
    try:
        text = repr(given)
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        text = f"a {type(given).__name__} that is too large to be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _location(entry: dict[str, Any]) -> tuple[str | int, ...]:
    """Return the path of keys to the value, without the names that pydantic adds for the chosen variant."""
    location: tuple[str | int, ...] = entry["loc"]
    variants = {"partition", "schedule", "compress"}
    return tuple(
        part
        for before, part in zip((None, *location), location, strict=False)
        if before not in variants or part == location[-1]
    )
