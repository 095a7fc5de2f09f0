"""Measures of the nodes' label skew, and of its position on a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topologies import Topology


@dataclass(frozen=True)
class Skew:
    """Measures over the nodes. "Pooled" means: of all examples that some node holds.

    The first two are above 0 for IID data, too, where nodes hold few examples each (60 of 10 classes: 0.15 and 0.11).

    Attributes:
        total_variation: mean over nodes of 1/2 sum_c |p_i(c) - p(c)|, p_i the node's label distribution and p the
            pooled one; 0: all alike, below 1. Half of the distance with which Zhao et al., "Federated Learning with
            Non-IID Data", arXiv 1806.00582, explain the loss of accuracy.
        jensen_shannon: H(p) - sum_i (M_i / M) H(p_i), in bits; 0: all alike; at most log2 C. The divergence of the
            nodes' label distributions, generalized to N of them and weighted by their sizes
            M_i (Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Trans. Information Theory 37, 1991),
            which is also the information that a label gives about the node it lies on.
        size_variation: coefficient of variation of the number of examples per node, std / mean; 0: all alike.
        classes_per_node: mean number of classes of which a node holds at least one example.
    """

    total_variation: float
    jensen_shannon: float
    size_variation: float
    classes_per_node: float


def label_skew(counts: NDArray[np.int64]) -> Skew:
    """Return the measures for label counts ``[N, C]``. A node without any label (multi-label) has shares of 0."""
    sizes = counts.sum(axis=1)
    pooled = counts.sum(axis=0) / sizes.sum()
    of_node = counts / np.maximum(sizes, 1)[:, None]
    return Skew(
        total_variation=float(np.abs(of_node - pooled).sum(axis=1).mean() / 2),
        jensen_shannon=float(_entropy(pooled) - sizes @ _entropy(of_node) / sizes.sum()),
        size_variation=float(sizes.std() / sizes.mean()),
        classes_per_node=float((counts > 0).sum(axis=1).mean()),
    )


@dataclass(frozen=True)
class NeighborhoodSkew:
    """Label skew on a graph: the data that a node cannot see around it. Both are means of total variations, 0 to 1.

    Attributes:
        between_neighbors: mean over the edges of the total variation between the label distributions of their ends.
        of_neighborhoods: mean over the nodes of that between sum_j W_ij p_j, what a node and its neighbors hold
            together by the weights of averaging, and the pooled distribution. In the square of the Euclidean norm this
            is the neighborhood heterogeneity that Le Bars, Bellet, Tommasi, Lavoie, Kermarrec, "Refined convergence
            and topology learning for decentralized SGD with heterogeneous data", AISTATS 2023, bound the error by; for
            label skew they, too, reduce it to label distributions.
    """

    between_neighbors: float
    of_neighborhoods: float


def neighborhood_skew(counts: NDArray[np.int64], topology: Topology) -> NeighborhoodSkew:
    """Return the measures for label counts ``[N, C]``; of a graph that varies, those of its union."""
    of_node = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pooled = counts.sum(axis=0) / counts.sum()
    union = topology if topology.is_static else Topology([topology.graph])
    seen = union.weights(0).matrix() @ of_node
    totals = seen.sum(axis=1, keepdims=True)
    seen /= np.where(totals > 0, totals, 1)  # rows of directed graphs' weights need not sum to one
    low, high = of_node[topology.edges[:, 0]], of_node[topology.edges[:, 1]]
    return NeighborhoodSkew(
        between_neighbors=float(np.abs(low - high).sum(axis=1).mean() / 2),
        of_neighborhoods=float(np.abs(seen - pooled).sum(axis=1).mean() / 2),
    )


def unused_classes(counts: NDArray[np.int64]) -> list[int]:
    """Return the classes of which no node holds an example, given label counts ``[N, C]``."""
    return [int(label) for label in np.flatnonzero(counts.sum(axis=0) == 0)]


def _entropy(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Shannon entropy along the last axis, in bits."""
    safe = np.where(probability > 0, probability, 1.0)  # 0 log 0 = 0
    return np.asarray(-(probability * np.log2(safe)).sum(axis=-1))
