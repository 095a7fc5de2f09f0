"""Colors of algorithms: fixed, legible on both backgrounds, and apart also for color-blind readers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from ngpd_fl.report.colors import BACKGROUNDS, PALETTE, luminance, method_color
from strategies import STRATEGIES

METHODS = (*STRATEGIES, "fedavg (dsgd)", "fedpm (kfac-gossip)", "all-reduce (dsgd)", "single-node (dsgd)")

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009:
# matrices of severity 1 on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def oklab(color: str, blindness: NDArray[np.float64]) -> NDArray[np.float64]:
    """A color as it is seen, in OKLab (Ottosson, 2020), where distances are differences."""
    coded = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(blindness @ linear, 0, 1)
    cones = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.2119035, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.6299787],
    ]
    lab = [
        [0.21045426, 0.79361779, -0.00407205],
        [1.9779985, -2.42859221, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.asarray(np.array(lab) @ np.cbrt(np.array(cones) @ seen))


@pytest.mark.parametrize("method", [*METHODS, "mine", "my-algorithm", "x", "another one"])
def test_legible_on_light_and_dark_pages(method: str) -> None:
    for background in BACKGROUNDS:
        low, high = sorted((luminance(method_color(method)), luminance(background)))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_luminance_of_known_colors() -> None:
    assert luminance("#000000") == 0 and luminance("#FFFFFF") == pytest.approx(1)
    assert luminance("#767676") == pytest.approx(1.05 / 4.54 - 0.05, abs=5e-4)  # the lightest gray with 4.5 on white


def test_every_algorithm_has_a_color_of_its_own() -> None:
    colors = [method_color(method) for method in METHODS]
    assert len(set(colors)) == len(METHODS)
    apart = [
        np.linalg.norm(oklab(a, np.eye(3)) - oklab(b, np.eye(3))) for a, b in combinations(colors[: len(STRATEGIES)], 2)
    ]
    assert min(apart) > 0.09


@pytest.mark.parametrize(("blindness", "least"), [("none", 0.14), *((kind, 0.05) for kind in list(BLINDNESS)[1:])])
def test_the_first_eight_differ_for_color_blind_readers(blindness: str, least: float) -> None:
    seen = [oklab(color, BLINDNESS[blindness]) for color in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > least


def test_a_color_hangs_on_the_name_alone() -> None:
    assert method_color("ngpd") == "#0072B2"
    assert method_color("fedavg (dsgd)") == method_color("fedavg (kfac-gossip)") != method_color("dsgd")
    assert method_color("mine") == "#578B23"  # in every release: pictures of earlier runs stay comparable
    assert len({method_color(f"own-{number}") for number in range(50)}) > 40
