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
from strategies.qg_dsgdm import QGDSGDm, QGDSGDmOptions
from strategies.registry import STRATEGIES, make_strategy, parse_strategy
from strategies.relay_sgd import RelaySGD, RelaySGDOptions
from strategies.sgp import SGP, SGPOptions
from strategies.suda_muon import SUDAMuon, SUDAMuonOptions

__all__ = [
    "ADPSGD",
    "ADPSGDOptions",
    "D2",
    "D2Options",
    "DeMuon",
    "DeMuonOptions",
    "DiNNO",
    "DiNNOOptions",
    "ExactDiffusion",
    "ExactDiffusionOptions",
    "GradientTracking",
    "GradientTrackingOptions",
    "GTAdam",
    "GTAdamOptions",
    "GUT",
    "GUTOptions",
    "LTADMM",
    "LTADMMOptions",
    "MomentumTracking",
    "MomentumTrackingOptions",
    "QGDSGDm",
    "QGDSGDmOptions",
    "RelaySGD",
    "RelaySGDOptions",
    "SUDAMuon",
    "SUDAMuonOptions",
    "DSGD",
    "ECL",
    "NGPD",
    "SGP",
    "STRATEGIES",
    "CECLOptions",
    "ChocoSGDOptions",
    "Curvature",
    "DSGDOptions",
    "ECLOptions",
    "Headers",
    "KFACGossip",
    "KFACGossipOptions",
    "Matrix",
    "NGPDOptions",
    "Objective",
    "Phase",
    "RoundView",
    "SGPOptions",
    "Spec",
    "Step",
    "StepInfo",
    "Strategy",
    "StrategyOptions",
    "View",
    "make_strategy",
    "parse_strategy",
    "sent_dtype",
    "message_dtype",
]
