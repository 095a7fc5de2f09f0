"""Judging models."""

from ngpd_fl.evaluation.evaluation import evaluate

__all__ = ["evaluate"]
