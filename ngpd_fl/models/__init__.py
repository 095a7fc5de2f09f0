"""Models: networks on flat parameters, likelihoods of their outputs, and the objective made of both."""

from ngpd_fl.models.build import build_model, count_parameters
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.likelihood import (
    Bernoulli,
    Categorical,
    Gaussian,
    LabelSmoothing,
    Likelihood,
    PerPosition,
    SquaredError,
)
from ngpd_fl.models.losses import build_likelihood
from ngpd_fl.models.objective import SupervisedObjective
from ngpd_fl.models.placement import DTYPES, pick_devices, synchronize
from ngpd_fl.models.saved import load_starts

__all__ = [
    "DTYPES",
    "Bernoulli",
    "Categorical",
    "FlatModel",
    "Gaussian",
    "LabelSmoothing",
    "Likelihood",
    "PerPosition",
    "SquaredError",
    "SupervisedObjective",
    "build_likelihood",
    "build_model",
    "count_parameters",
    "load_starts",
    "pick_devices",
    "synchronize",
]
