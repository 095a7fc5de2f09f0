"""Parts of a paper's formula for all nodes at once, in parameters ``[N, P]`` on the quadratic problem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.support.quadratic import Quadratic
from topologies import Topology


class Recursion:
    """The problem's gradients and the network's weights, as a formula reads them; mu is 0.4, and all start at 0."""

    lr = 0.4

    def __init__(self, problem: Quadratic, topology: Topology) -> None:
        self.problem, self.topology = problem, topology
        self.zero = torch.zeros_like(problem.targets)

    def gradient(self, params: Tensor) -> Tensor:
        return torch.einsum("nij,nj->ni", self.problem.hessians, params - self.problem.targets)

    def weights(self, round: int) -> Tensor:
        return torch.tensor(self.topology.weights(round).matrix().toarray())

    def active(self, round: int) -> Tensor:
        """The adjacency matrix of a round, ``[N, N]``."""
        return self._adjacency(self.topology.edges[self.topology.active(round)])

    def union(self) -> Tensor:
        """The adjacency matrix of the union graph, ``[N, N]``."""
        return self._adjacency(self.topology.edges)

    def _adjacency(self, edges: Any) -> Tensor:
        first, second = torch.as_tensor(edges).T
        matrix = self.zero.new_zeros(len(self.zero), len(self.zero))
        matrix[first, second] = matrix[second, first] = 1
        return matrix
