"""The split's picture shows the label counts, and they are those of the run."""

from __future__ import annotations

import numpy as np
import pytest

from ngpd_fl.config import Config
from ngpd_fl.report.pictures.partition import count_labels, partition_figure
from ngpd_fl.training import compose


@pytest.mark.parametrize("dataset", ["digits", "diabetes"])
@pytest.mark.parametrize("partition", ["classes", "iid", "dirichlet"])
def test_counts_are_those_of_the_run(partition: str, dataset: str) -> None:
    config = Config(partition=partition, data={"dataset": dataset}, seed=3)
    np.testing.assert_array_equal(count_labels(config)[0], compose(config).counts)


def test_every_count_is_written() -> None:
    config = Config(topology={"nodes": 3})
    counts = np.array([[5, 0, 2], [0, 0, 7], [1, 0, 0]])
    bars, cells = partition_figure(config, counts).axes
    np.testing.assert_array_equal([bar.get_height() for bar in bars.patches], [7, 7, 1])
    written = {text.get_position(): text.get_text() for text in cells.texts if text.get_text().isdigit()}
    assert written == {(0, 0): "5", (0, 2): "2", (1, 2): "7", (2, 0): "1"}
    assert [text.get_text() for text in cells.texts if not text.get_text().isdigit()] == ["", "on no node"]
    (image,) = cells.images
    np.testing.assert_array_equal(image.get_array().filled(0), counts.T)


def test_many_nodes_have_a_scale_instead_of_numbers() -> None:
    config = Config(topology={"nodes": 64})
    _, cells, scale = partition_figure(config, *count_labels(config)).axes
    assert scale.get_ylabel() == "images"
    assert not [text for text in cells.texts if text.get_text().isdigit()]


def test_axes_count_in_whole_nodes_and_classes() -> None:
    config = Config(topology={"nodes": 2})
    _, cells = partition_figure(config, *count_labels(config)).axes
    assert [tick for tick in cells.get_xticks() if -0.5 < tick < 1.5] == [0, 1]
    assert all(tick == int(tick) for tick in cells.get_yticks())
