"""The algorithms by name. A new one is a file of its own and a line here; the conformance suite then covers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strategies.ad_psgd import ADPSGD, ADPSGDOptions
from strategies.c_ecl import CECLOptions
from strategies.choco_sgd import ChocoSGDOptions
from strategies.compression.error_feedback import ErrorFeedback
from strategies.compression.rounding import Rounded, message_dtype
from strategies.compression.shared_mask import SharedMask
from strategies.contract import Curvature, Objective, Strategy, StrategyOptions
from strategies.d2 import D2, D2Options
from strategies.dsgd import DSGD, DSGDOptions
from strategies.ecl import ECL, ECLOptions
from strategies.exact_diffusion import ExactDiffusion, ExactDiffusionOptions
from strategies.gradient_tracking import GradientTracking, GradientTrackingOptions
from strategies.kfac_gossip import KFACGossip, KFACGossipOptions
from strategies.momentum_tracking import MomentumTracking, MomentumTrackingOptions
from strategies.ngpd import NGPD, NGPDOptions
from strategies.qg_dsgdm import QGDSGDm, QGDSGDmOptions
from strategies.relay_sgd import RelaySGD, RelaySGDOptions
from strategies.sgp import SGP, SGPOptions

STRATEGIES: dict[str, tuple[type[StrategyOptions], Any]] = {
    "ngpd": (NGPDOptions, NGPD),
    "ecl": (ECLOptions, ECL),
    "dsgd": (DSGDOptions, DSGD),
    "kfac-gossip": (KFACGossipOptions, KFACGossip),
    "sgp": (SGPOptions, SGP),
    "d2": (D2Options, D2),
    "exact-diffusion": (ExactDiffusionOptions, ExactDiffusion),
    "gradient-tracking": (GradientTrackingOptions, GradientTracking),
    "momentum-tracking": (MomentumTrackingOptions, MomentumTracking),
    "qg-dsgdm": (QGDSGDmOptions, QGDSGDm),
    "relay-sgd": (RelaySGDOptions, RelaySGD),
    "ad-psgd": (ADPSGDOptions, ADPSGD),
    "choco-sgd": (ChocoSGDOptions, DSGD),
    "c-ecl": (CECLOptions, ECL),
}
"""Name -> (options, algorithm)."""


def parse_strategy(value: str | Mapping[str, Any]) -> StrategyOptions:
    """Return the options that a name, or a mapping with a ``name``, stands for.

    Raises:
        ValueError: no algorithm has this name.
        pydantic.ValidationError: a key is unknown or a value out of range.
    """
    fields = {"name": value} if isinstance(value, str) else dict(value)
    name = fields.get("name")
    if name not in STRATEGIES:
        raise ValueError(f"{name!r} is not known; allowed: {', '.join(STRATEGIES)}")
    return STRATEGIES[name][0].model_validate(fields)


def make_strategy(options: StrategyOptions, minimized: Objective | Curvature) -> Strategy:
    """Return the algorithm of these options, on an objective or, if it is of second order, on a curvature."""
    strategy: Strategy = STRATEGIES[options.name][1](options, minimized)
    if options.shares_mask:
        strategy = SharedMask(strategy)
    elif options.compress is not None:
        strategy = ErrorFeedback(strategy)
    wire = message_dtype(options)
    return strategy if wire is None else Rounded(strategy, wire)
