"""Colors of algorithms: one for each, the same in every picture and page, whatever else is shown.

All have a contrast of at least 3 to the backgrounds of light and of dark pages (WCAG 2.2, 1.4.11). The first eight, of
the algorithms that are compared most, also differ for readers with protanopia, deuteranopia and tritanopia (simulated
as by Machado, Oliveira and Fernandes, 2009). More cannot be told apart by color alone: lines have dashes and markers
too.
"""

from __future__ import annotations

import colorsys
import hashlib

_ALGORITHMS = {
    "ngpd": "#0072B2",
    "dsgd": "#D55E00",
    "ecl": "#009A66",
    "relay-sgd": "#8858E8",
    "gradient-tracking": "#3098F8",
    "qg-dsgdm": "#A83888",
    "momentum-tracking": "#806030",
    "d2": "#C080B0",
    "exact-diffusion": "#A09800",
    "kfac-gossip": "#F04078",
    "suda-muon": "#C81028",
    "gtadam": "#7098A8",
    "sgp": "#00A800",
    "demuon": "#D050D0",
    "gut": "#806888",
    "choco-sgd": "#A88068",
    "lt-admm": "#3858E8",
    "c-ecl": "#407000",
    "dinno": "#007070",
    "ad-psgd": "#B078F8",
    "ngpd-tracking": "#A020D0",
}
_BASELINES = {"fedavg": "#6E7781", "fedpm": "#8C8277", "all-reduce": "#7A8B7F", "single-node": "#85808F"}

_TABLE = _ALGORITHMS | _BASELINES

PALETTE = tuple(_ALGORITHMS.values())[:8]
"""Colors of all else, such as lines of one algorithm alone, the strongest first."""

BACKGROUNDS = ("#ffffff", "#14181d")
"""Backgrounds of light and of dark pages."""

_LUMINANCE, _SATURATION = 0.2, 0.6
"""Relative luminance, between those of the backgrounds, and saturation of the colors made from names."""


def method_color(method: str) -> str:
    """Return the color of an algorithm or, e.g. ``fedavg (dsgd)``, of a baseline, as ``#RRGGBB``.

    The color of an algorithm that is not in the table, such as a user's own, is made from its name.
    """
    name = method.partition(" (")[0]
    return _TABLE.get(name) or _color_from(name)


def method_number(method: str) -> int:
    """Return the number of an algorithm, which chooses its dashes and markers as its name chooses its color."""
    name = method.partition(" (")[0]
    return list(_TABLE).index(name) if name in _TABLE else _hash(name)


def luminance(color: str) -> float:
    """Return the relative luminance of a color ``#RRGGBB``, in [0, 1], as defined by WCAG."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _color_from(name: str) -> str:
    """Return a color whose hue depends on the name."""
    hue = _hash(name) / 2**32
    shades = [
        "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hls_to_rgb(hue, percent / 100, _SATURATION))
        for percent in range(100)
    ]
    return min(shades, key=lambda color: abs(luminance(color) - _LUMINANCE))


def _hash(name: str) -> int:
    """Return a number below 2^32 that depends on a name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
