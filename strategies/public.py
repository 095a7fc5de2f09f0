"""The public names of ``strategies``."""

from strategies.ad_psgd import ADPSGD, ADPSGDOptions
from strategies.c_ecl import CECLOptions
from strategies.choco_sgd import ChocoSGDOptions
from strategies.compression.rounding import message_dtype, sent_dtype
from strategies.contract import (
    Curvature,
    Headers,
    Matrix,
    Objective,
    Phase,
    RoundView,
    Spec,
    Step,
    StepInfo,
    Strategy,
    StrategyOptions,
    View,
)
from strategies.d2 import D2, D2Options
from strategies.demuon import DeMuon, DeMuonOptions
from strategies.dinno import DiNNO, DiNNOOptions
from strategies.dsgd import DSGD, DSGDOptions
from strategies.ecl import ECL, ECLOptions
from strategies.exact_diffusion import ExactDiffusion, ExactDiffusionOptions
from strategies.gradient_tracking import GradientTracking, GradientTrackingOptions
from strategies.gtadam import GTAdam, GTAdamOptions
from strategies.gut import GUT, GUTOptions
from strategies.kfac_gossip import KFACGossip, KFACGossipOptions
from strategies.lt_admm import LTADMM, LTADMMOptions
from strategies.momentum_tracking import MomentumTracking, MomentumTrackingOptions
from strategies.ngpd import NGPD, NGPDOptions
from strategies.ngpd_tracking import NGPDTracking, NGPDTrackingOptions
from strategies.qg_dsgdm import QGDSGDm, QGDSGDmOptions
from strategies.registry import STRATEGIES, make_strategy, parse_strategy
from strategies.relay_sgd import RelaySGD, RelaySGDOptions
from strategies.sgp import SGP, SGPOptions
from strategies.suda_muon import SUDAMuon, SUDAMuonOptions

__all__ = [
    "ADPSGD",
    "D2",
    "DSGD",
    "ECL",
    "GUT",
    "LTADMM",
    "NGPD",
    "SGP",
    "STRATEGIES",
    "ADPSGDOptions",
    "CECLOptions",
    "ChocoSGDOptions",
    "Curvature",
    "D2Options",
    "DSGDOptions",
    "DeMuon",
    "DeMuonOptions",
    "DiNNO",
    "DiNNOOptions",
    "ECLOptions",
    "ExactDiffusion",
    "ExactDiffusionOptions",
    "GTAdam",
    "GTAdamOptions",
    "GUTOptions",
    "GradientTracking",
    "GradientTrackingOptions",
    "Headers",
    "KFACGossip",
    "KFACGossipOptions",
    "LTADMMOptions",
    "Matrix",
    "MomentumTracking",
    "MomentumTrackingOptions",
    "NGPDOptions",
    "NGPDTracking",
    "NGPDTrackingOptions",
    "Objective",
    "Phase",
    "QGDSGDm",
    "QGDSGDmOptions",
    "RelaySGD",
    "RelaySGDOptions",
    "RoundView",
    "SGPOptions",
    "SUDAMuon",
    "SUDAMuonOptions",
    "Spec",
    "Step",
    "StepInfo",
    "Strategy",
    "StrategyOptions",
    "View",
    "make_strategy",
    "message_dtype",
    "parse_strategy",
    "sent_dtype",
]
