"""The algorithms by name. A new one is a file of its own and a line here; the conformance suite then covers it."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.contract import Curvature, Objective, Strategy, StrategyOptions

    Algorithm = tuple[type[StrategyOptions], Any]
    """An algorithm's options, and the class that is made from them and from what it minimizes."""


class Algorithms(UserDict[str, "Algorithm"]):
    """The algorithms by name. The file of one is imported when it is first asked for: their names need no torch."""

    def __getitem__(self, name: str) -> Algorithm:
        """Return the pair of classes; import those that are given as ``file:class``."""
        classes: Any = self.data[name]
        if isinstance(classes[0], str):
            classes = self.data[name] = tuple(map(_load, classes))
        pair: Algorithm = classes
        return pair


def _load(path: str) -> Any:
    file, _, name = path.partition(":")
    return getattr(import_module(f"strategies.{file}"), name)


_FILES: dict[str, Any] = {
    "ngpd": ("ngpd:NGPDOptions", "ngpd:NGPD"),
    "ngpd-tracking": ("ngpd_tracking:NGPDTrackingOptions", "ngpd_tracking:NGPDTracking"),
    "ecl": ("ecl:ECLOptions", "ecl:ECL"),
    "dsgd": ("dsgd:DSGDOptions", "dsgd:DSGD"),
    "kfac-gossip": ("kfac_gossip:KFACGossipOptions", "kfac_gossip:KFACGossip"),
    "sgp": ("sgp:SGPOptions", "sgp:SGP"),
    "d2": ("d2:D2Options", "d2:D2"),
    "exact-diffusion": ("exact_diffusion:ExactDiffusionOptions", "exact_diffusion:ExactDiffusion"),
    "gradient-tracking": ("gradient_tracking:GradientTrackingOptions", "gradient_tracking:GradientTracking"),
    "momentum-tracking": ("momentum_tracking:MomentumTrackingOptions", "momentum_tracking:MomentumTracking"),
    "gut": ("gut:GUTOptions", "gut:GUT"),
    "gtadam": ("gtadam:GTAdamOptions", "gtadam:GTAdam"),
    "lt-admm": ("lt_admm:LTADMMOptions", "lt_admm:LTADMM"),
    "dinno": ("dinno:DiNNOOptions", "dinno:DiNNO"),
    "demuon": ("demuon:DeMuonOptions", "demuon:DeMuon"),
    "suda-muon": ("suda_muon:SUDAMuonOptions", "suda_muon:SUDAMuon"),
    "qg-dsgdm": ("qg_dsgdm:QGDSGDmOptions", "qg_dsgdm:QGDSGDm"),
    "relay-sgd": ("relay_sgd:RelaySGDOptions", "relay_sgd:RelaySGD"),
    "ad-psgd": ("ad_psgd:ADPSGDOptions", "ad_psgd:ADPSGD"),
    "choco-sgd": ("choco_sgd:ChocoSGDOptions", "dsgd:DSGD"),
    "c-ecl": ("c_ecl:CECLOptions", "ecl:ECL"),
}

STRATEGIES = Algorithms(_FILES)
"""Name -> (options, algorithm)."""


def parse_strategy(value: str | Mapping[str, Any]) -> StrategyOptions:
    """Return the options that a name, or a mapping with a ``name``, stands for.

    Raises:
        ValueError: no algorithm has this name.
        pydantic.ValidationError: a key is unknown or a value out of range.
    """
    fields = {"name": value} if isinstance(value, str) else dict(value)
    name = fields.get("name")
    if not isinstance(name, str) or name not in STRATEGIES:
        raise ValueError(f"{name!r} is not known; allowed: {', '.join(STRATEGIES)}")
    return STRATEGIES[name][0].model_validate(fields)


def make_strategy(options: StrategyOptions, minimized: Objective | Curvature) -> Strategy:
    """Return the algorithm of these options, on an objective or, if it is of second order, on a curvature."""
    from strategies.compression.error_feedback import ErrorFeedback
    from strategies.compression.rounding import Rounded, message_dtype
    from strategies.compression.shared_mask import SharedMask

    strategy: Strategy = STRATEGIES[options.name][1](options, minimized)
    if options.shares_mask:
        strategy = SharedMask(strategy)
    elif options.compress is not None:
        strategy = ErrorFeedback(strategy)
    dtype = message_dtype(options)
    return strategy if dtype is None else Rounded(strategy, dtype)
