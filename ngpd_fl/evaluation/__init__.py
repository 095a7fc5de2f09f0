"""Evaluation of models on a data set."""

from ngpd_fl.evaluation.evaluation import evaluate

__all__ = ["evaluate"]
