"""Configurations as flat keys: shared and different keys, and the command that repeats a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ngpd_fl.config import Config, InputError, parse_assignments
from ngpd_fl.config.held_object import is_object_name

Keys = dict[str, Any]
"""Dotted key -> value, e.g. ``strategy.lr`` -> 0.05."""

_MOST_CHARACTERS = 2_000
"""Longest command; a longer one is better given as a file."""


def flat(config: Config) -> Keys:
    """Return all keys that are set."""
    return dict(_leaves(config.model_dump(mode="json", exclude_none=True)))


def shared(all_keys: Sequence[Keys]) -> Keys:
    """Return the keys that have the same value in all configurations."""
    first, *others = all_keys
    return {key: value for key, value in first.items() if all(key in other and other[key] == value for other in others)}


def without(keys: Keys, others: Iterable[str]) -> Keys:
    """Return ``keys`` without some of them."""
    left = set(others)
    return {key: value for key, value in keys.items() if key not in left}


def shown(value: Any) -> str:
    """Return a value in TOML, a plain string without quotes."""
    return value if isinstance(value, str) else _toml(value)


def brief(value: Any) -> str:
    """Return a value for labels: as ``shown``, but real numbers with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def given(config: Config) -> Keys:
    """Return the keys whose values are not the defaults of the algorithm, the graph, ... that the run names."""
    keys, defaults = flat(config), flat(Config())
    names = [f"{section}.name" for section in ("partition", "topology", "strategy", "model")]
    named: Keys = {key: keys[key] for key in names if keys[key] != defaults[key]}
    try:
        defaults = flat(Config.load(None, named))
    except InputError:  # some options have none
        sections = {key.partition(".")[0] for key in named}
        defaults = {key: value for key, value in defaults.items() if key.partition(".")[0] not in sections}
    return named | {key: value for key, value in keys.items() if defaults.get(key) != value}


def run_command(config: Config, event_log: bool = False) -> str | None:
    """Return the command that repeats a run; None if it would be too long, or if the run was given objects.

    Args:
        config: the run's configuration.
        event_log: whether the run has an event log.
    """
    if any(isinstance(value, str) and is_object_name(value) for value in flat(config).values()):
        return None
    words = ["ngpd-fl run"]
    words += [f"--set {shlex.quote(f'{key}={_toml(value)}')}" for key, value in sorted(given(config).items())]
    command = " ".join([*words, "--event-log" * event_log]).rstrip()
    return command if len(command) <= _MOST_CHARACTERS and _gives(command, config) else None


def _gives(command: str, config: Config) -> bool:
    """Return whether a command's assignments give exactly this configuration."""
    assignments = [word for word in shlex.split(command) if "=" in word]
    try:
        return Config.load(None, parse_assignments(assignments)) == config
    except InputError:
        return False


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield dotted keys and values; a table inside a section, such as ``devices.mix``, is one value."""
    for key, value in values.items():
        nested = isinstance(value, dict) and (not prefix or "name" in value)
        yield from _leaves(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]


def _toml(value: Any) -> str:
    """Return a value in one line of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
