"""Data: loading a data set, partitioning it among the nodes, and drawing their minibatches."""

from ngpd_fl.data.augmentation import Moves, draw_moves, move
from ngpd_fl.data.dataset import Dataset, Partition, Split, fingerprint
from ngpd_fl.data.export import export_nodes
from ngpd_fl.data.feature_skew import skew_features
from ngpd_fl.data.load import load_dataset
from ngpd_fl.data.partition import divide, partition_labels
from ngpd_fl.data.sampler import BatchSampler
from ngpd_fl.data.skew import (
    NeighborhoodSkew,
    Skew,
    label_skew,
    neighborhood_skew,
    unused_classes,
)
from ngpd_fl.data.task import (
    IGNORE_INDEX,
    Classification,
    MultiLabelClassification,
    Regression,
    Task,
    TokenClassification,
)

__all__ = [
    "IGNORE_INDEX",
    "BatchSampler",
    "Classification",
    "Dataset",
    "Moves",
    "MultiLabelClassification",
    "NeighborhoodSkew",
    "Partition",
    "Regression",
    "Skew",
    "Split",
    "Task",
    "TokenClassification",
    "divide",
    "draw_moves",
    "export_nodes",
    "fingerprint",
    "label_skew",
    "load_dataset",
    "move",
    "neighborhood_skew",
    "partition_labels",
    "skew_features",
    "unused_classes",
]
