"""Judging models."""

from ngpd_fl.evaluation.evaluation import AverageEvaluation, NodesEvaluation, evaluate_average, evaluate_nodes

__all__ = ["AverageEvaluation", "NodesEvaluation", "evaluate_average", "evaluate_nodes"]
