"""Device classes in files: TOML with a table of keys for each class, or CSV with a row for each.

The first row of a CSV file holds the keys, with ``name`` for the class. An empty cell is an unset key.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from ngpd_fl.config import InputError, choices, expanded, one_line, read_text, read_toml
from ngpd_fl.devices.device import DeviceClass

SHIPPED = Path(__file__).with_name("devices.toml")
"""The classes that come with the package."""

_KIND = "device table"


def read_table(path: Path) -> dict[str, DeviceClass]:
    """Return the classes of a table by name.

    Raises:
        InputError: it cannot be read or holds something impossible; one line names the class, the key and what is
            allowed.
    """
    path = expanded(path)
    if path.suffix not in (".toml", ".csv"):
        raise InputError(f"{_KIND} {path}: its name must end in .toml or .csv")
    rows = read_toml(path, _KIND).items() if path.suffix == ".toml" else _csv_rows(path)
    classes: dict[str, DeviceClass] = {}
    for name, values in rows:
        if name in classes:
            raise InputError(f"{_KIND} {path}: {name} is there twice")
        try:
            classes[name] = DeviceClass.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{_KIND} {path}: {one_line(error, DeviceClass, name)}") from None
    if not classes:
        raise InputError(f"{_KIND} {path}: holds no device class")
    return classes


def class_toml(name: str, device_class: DeviceClass) -> str:
    """Return a class as TOML, which ``read_table`` reads again."""
    return tomli_w.dumps({name: device_class.model_dump(exclude_defaults=True)})


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's name and its filled cells."""
    try:
        rows = list(csv.reader(StringIO(read_text(path, f"{_KIND} "), newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{_KIND} {path}: not valid CSV ({error})") from error
    keys, allowed = [key.strip() for key in rows[0]] if rows else [], ["name", *DeviceClass.model_fields]
    for key in keys:
        if key not in allowed:
            raise InputError(f"{_KIND} {path}: {key!r} is no column; {choices(key, allowed)}")
    if "name" not in keys or len(set(keys)) < len(keys):
        raise InputError(f"{_KIND} {path}: its first row must name the columns, each once, and name among them")
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) > len(keys):
            raise InputError(f"{_KIND} {path}: row {number} has {len(cells)} cells for {len(keys)} columns")
        filled = {key: cell.strip() for key, cell in zip(keys, cells, strict=False) if cell.strip()}
        if filled:
            if "name" not in filled:
                raise InputError(f"{_KIND} {path}: row {number} has no name")
            yield filled.pop("name"), filled
