"""The engine of a baseline; see ``engines.baseline``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ngpd_fl.curvature import KFAC
from ngpd_fl.engines import BaselineEngine, all_reduce_bytes, fedavg_bytes
from ngpd_fl.training.job import Job


def make_baseline(job: Job) -> BaselineEngine:
    """Return the engine that ``training.baseline`` names."""
    settings, training, num_nodes = job.engine_settings, job.config.training, job.config.topology.nodes
    start = settings.start
    steps = training.local_steps
    if training.baseline == "fedavg":
        shares = torch.as_tensor(job.counts.sum(axis=1) / job.counts.sum(), dtype=start.dtype, device=start.device)
        sent = fedavg_bytes(num_nodes, start.nbytes)
        return BaselineEngine(settings, num_nodes * steps, lambda round: sent, shares)
    if training.baseline == "single-node":
        return BaselineEngine(settings, steps, lambda round: 0)
    factors = _factor_bytes(job, start)

    def bytes_of(round: int) -> int:
        """Return the bytes of the gradients and, with K-FAC, of the factors of the steps that refresh them."""
        phases = [job.strategy.phase(step) for step in range(round * steps, (round + 1) * steps)]
        vectors = steps * start.nbytes + sum(phase.refresh_factors for phase in phases) * factors
        return all_reduce_bytes(num_nodes, vectors)

    return BaselineEngine(settings, num_nodes * steps, bytes_of)


def _factor_bytes(job: Job, start: Tensor) -> int:
    """Return the bytes of one node's Kronecker factors; 0 if the strategy has none."""
    curvature = getattr(job.strategy, "curvature", None)
    if not isinstance(curvature, KFAC):
        return 0
    blocks = curvature.init().blocks.values()
    return sum(leaf.nbytes for block in blocks for leaf in tree_leaves(block.averages))
