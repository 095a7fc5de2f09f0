"""NGPD on MNIST: the accuracies that the method should reach.

Set NGPD_FL_DATA_DIR to the folder of torchvision's MNIST (``MNIST/raw``).
"""

from __future__ import annotations

import os

import pytest

from ngpd_fl import Config, Result, run

DATA_DIR = os.environ.get("NGPD_FL_DATA_DIR")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DATA_DIR is None, reason="NGPD_FL_DATA_DIR does not name a folder with MNIST"),
]


def on_double_ring(strategy: object) -> Result:
    """8 nodes, double ring, 8 of 10 classes a node, K = 8, batch 64, small CNN, 40 rounds."""
    return run(
        Config(
            data={"dataset": "mnist", "data_dir": DATA_DIR, "batch_size": 64},
            partition={"name": "classes", "classes_per_node": 8},
            topology={"name": "circulant", "nodes": 8},
            model={"name": "lenet"},
            training={"rounds": 40, "local_steps": 8},
            strategy=strategy,
            evaluation={"every": 40},
        )
    )


def test_ngpd_reaches_the_known_accuracy() -> None:
    """The defaults reached 98.6 %, nodes and averaged model alike; a point less is an error."""
    final = on_double_ring({"name": "ngpd"}).metrics[-1]
    assert final.mean_accuracy >= 0.986 - 0.01
    assert final.averaged_model_accuracy >= 0.986 - 0.01


def test_without_mixing_the_nodes_lag_behind_their_average() -> None:
    """The paper's form, mixing = 0, reached 96.0 % as the mean of the nodes and 98.7 % of the averaged model."""
    final = on_double_ring({"name": "ngpd", "mixing": 0.0}).metrics[-1]
    assert final.mean_accuracy >= 0.960 - 0.01
    assert final.averaged_model_accuracy >= 0.987 - 0.01
    assert final.averaged_model_accuracy > final.mean_accuracy
