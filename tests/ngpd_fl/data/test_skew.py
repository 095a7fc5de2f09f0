from __future__ import annotations

import numpy as np
import pytest
import torch

from ngpd_fl.data import Classification, label_skew, unused_classes


def test_label_counts() -> None:
    labels = torch.tensor([0, 2, 2, 1, 0])
    counts = Classification(4).node_counts(labels, [np.array([0, 1]), np.array([2, 3, 4])])
    assert counts.tolist() == [[1, 0, 1, 0], [1, 1, 1, 0]]
    assert unused_classes(counts) == [3]


def test_alike_nodes_have_no_skew() -> None:
    skew = label_skew(np.array([[3, 6, 1], [3, 6, 1]]))
    assert skew.total_variation == pytest.approx(0) and skew.jensen_shannon == pytest.approx(0)
    assert skew.size_variation == 0 and skew.classes_per_node == 3


def test_proportional_nodes_differ_in_size_only() -> None:
    skew = label_skew(np.array([[1, 2], [3, 6]]))
    assert skew.total_variation == pytest.approx(0) and skew.jensen_shannon == pytest.approx(0)
    assert skew.size_variation == pytest.approx(0.5)  # sizes 3 and 9: mean 6, standard deviation 3


def test_one_class_per_node_is_the_largest_skew() -> None:
    skew = label_skew(np.diag([5, 5, 5, 5]))
    assert skew.total_variation == pytest.approx(3 / 4)  # 1/2 (3/4 + 3 * 1/4)
    assert skew.jensen_shannon == pytest.approx(2)  # log2 4: the label tells the node
    assert skew.classes_per_node == 1


def test_against_values_by_hand() -> None:
    skew = label_skew(np.array([[4, 0], [1, 1]]))  # pooled 5/6 and 1/6: the larger node counts more
    assert skew.total_variation == pytest.approx((1 / 6 + 1 / 3) / 2)
    entropy = -(5 / 6 * np.log2(5 / 6) + 1 / 6 * np.log2(1 / 6))
    assert skew.jensen_shannon == pytest.approx(entropy - (4 * 0 + 2 * 1) / 6)
    assert skew.size_variation == pytest.approx(1 / 3)  # sizes 4 and 2
    assert skew.classes_per_node == 1.5
