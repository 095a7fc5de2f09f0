"""The included device classes, with every figure and its source."""

from __future__ import annotations

from gallery.markdown import table
from ngpd_fl.devices.device import DeviceClass
from ngpd_fl.devices.table import SHIPPED, read_table


def gallery() -> str:
    """Return a table of the classes' figures, and their sources."""
    classes = read_table(SHIPPED)
    keys = [
        key
        for key in DeviceClass.model_fields
        if key != "source" and any(_value(device_class, key) for device_class in classes.values())
    ]
    figures = table(
        ["class", *(f"`{key}`" for key in keys)],
        ([f"`{name}`", *(_value(device_class, key) for key in keys)] for name, device_class in classes.items()),
    )
    sources = "\n".join(f"* `{name}`: {device_class.source}" for name, device_class in classes.items())
    return f"**All figures of the included classes**\n\n{figures}\n\n{sources}"


def _value(device_class: DeviceClass, key: str) -> str:
    """Return a figure that a class gives; nothing where it is unset."""
    value = device_class.model_dump(exclude_defaults=True).get(key)
    return "" if value is None else f"{value:,.10g}"
