"""Records of earlier versions, read as if this version had written them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, InputError, read_json, read_toml, translated

RECORDS = 2
"""Version of a run's records, in ``environment.json``. ngpd-fl 0.1 wrote none; only ``resume`` needs an equal one."""

_SUMMARY = {"judged_on": "evaluated_on"}
_PEER = {"life": "starts"}
_SKEW = {"between_neighbours": "between_neighbors", "of_neighbourhoods": "of_neighborhoods"}


def recorded_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return a run's configuration from its ``config.toml``, with ``overrides`` by dotted keys applied.

    Raises:
        InputError: the file cannot be read, or has keys that no version knew; the line names the file.
    """
    values = translated(read_toml(path))
    try:
        return Config.of(values, overrides or {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def current_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``summary.json`` of any version under current names."""
    current = _renamed(summary, _SUMMARY)
    if isinstance(skew := current.get("skew"), Mapping):
        current["skew"] = _renamed(skew, _SKEW)
    if isinstance(peer := current.get("peer"), Mapping):
        current["peer"] = current_peer(peer)
    if isinstance(peers := current.get("peers"), list):
        current["peers"] = [current_peer(peer) if isinstance(peer, Mapping) else peer for peer in peers]
    if isinstance(clock := current.get("clock"), Mapping) and "mode" in clock:
        [mode] = translated({"training.mode": clock["mode"]}).values()
        current["clock"] = {**clock, "mode": mode}
    return current


def current_peer(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``peer.json``, or a peer's part of a summary, of any version under current names."""
    return _renamed(record, _PEER)


def written_by(folder: Path) -> str | None:
    """Return the version of ngpd-fl that began a run, from its folder; None if it is unknown."""
    try:
        version = read_json(folder / "environment.json")["packages"]["ngpd-fl"]
    except (InputError, KeyError, TypeError, IndexError):
        return None
    return version if isinstance(version, str) else None


@contextmanager
def naming_version(folder: Path) -> Iterator[None]:
    """Add the version that wrote the records in ``folder`` to errors about them."""
    try:
        yield
    except InputError as error:
        version = written_by(folder)
        raise InputError(f"{error} (written by ngpd-fl {version})" if version else str(error)) from error


def _renamed(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in record.items()}
