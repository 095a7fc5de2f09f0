"""Lines of metrics.jsonl: both kinds, values that are not finite, and the form of earlier records."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from ngpd_fl.records import (
    ACCURACY,
    HAMMING_ACCURACY,
    MEASURES,
    METRICS,
    RMSE,
    TOKEN_ACCURACY,
    Accuracies,
    Errors,
    MultiLabelAccuracies,
    TokenAccuracies,
)
from ngpd_fl.records.metrics import parse_metrics

COMMON = (
    '"round":2,"node_steps":48,"train_seconds":0.5,"bytes_sent":100,"train_loss":null,"trust_shrink":1.0,'
    '"consensus_distance":0.25'
)
CLASSES = (
    '"mean_accuracy":0.5,"min_accuracy":0.4,"max_accuracy":0.6,"mean_own_accuracy":0.9,"averaged_model_accuracy":0.7,'
    '"accuracy":[0.4,0.6],"own_accuracy":[0.9,0.9],"class_accuracy":[null,0.5],'
    '"averaged_model_class_accuracy":[null,0.5]'
)
TARGETS = (
    '"mean_rmse":null,"min_rmse":4.0,"max_rmse":null,"mean_own_rmse":3.0,"averaged_model_rmse":2.0,'
    '"rmse":[4.0,null],"own_rmse":[3.0,3.0],"bin_rmse":[4.0],"averaged_model_bin_rmse":[4.0],'
    '"mean_r2":null,"averaged_model_r2":0.5,"r2":[0.5,null]'
)


def test_accuracies() -> None:
    found = parse_metrics(f"{{{COMMON},{CLASSES}}}")
    assert isinstance(found, Accuracies) and found.measure is ACCURACY
    assert (found.mean, found.worst, found.best, found.mean_own, found.averaged_model) == (0.5, 0.4, 0.6, 0.9, 0.7)
    assert found.nodes == [0.4, 0.6]


def test_errors() -> None:
    found = parse_metrics(f"{{{COMMON},{TARGETS}}}")
    assert isinstance(found, Errors) and found.measure is RMSE
    assert math.isnan(found.mean) and math.isnan(found.worst)
    assert (found.best, found.mean_own, found.averaged_model) == (4.0, 3.0, 2.0)
    assert found.nodes[0] == 4.0 and math.isnan(found.nodes[1])
    written = json.loads(found.model_dump_json())
    assert Errors(**(written | {"rmse": [4.0, math.inf], "mean_r2": -math.inf})) == found


@pytest.mark.parametrize(
    ("kind", "key", "better"), [(TokenAccuracies, "perplexity", min), (MultiLabelAccuracies, "exact_match", max)]
)
def test_accuracies_with_a_further_measure(kind: type[Accuracies], key: str, better: Any) -> None:
    more = f'"mean_{key}":0.75,"averaged_model_{key}":null,"{key}":[0.5,null]'
    found = parse_metrics(f"{{{COMMON},{CLASSES},{more}}}")
    assert type(found) is kind and found.mean == 0.5
    [other] = found.others
    values = found.values(other)
    assert other.key == key and values.mean == 0.75 and math.isnan(values.averaged_model)
    assert math.isnan(values.worst) and values.best == 0.5 and other.rank(better(0.5, 0.7)) > other.rank(0.6)
    assert found.values(found.measure) == (0.5, 0.4, 0.6, 0.7)


@pytest.mark.parametrize("line", ["{}", f"{{{COMMON}}}", f"{{{COMMON},{CLASSES},{TARGETS}}}", "[]", ""])
def test_what_is_neither(line: str) -> None:
    with pytest.raises(ValueError):
        parse_metrics(line)


def test_every_measure_ranks_and_has_a_record() -> None:
    assert set(METRICS) == {ACCURACY, TOKEN_ACCURACY, HAMMING_ACCURACY, RMSE}
    assert len(MEASURES) == len(METRICS)  # a name for each, by which Flower's clients call theirs
    assert ACCURACY.rank(0.9) > ACCURACY.rank(0.1) > ACCURACY.rank(math.nan)
    assert RMSE.rank(1.0) > RMSE.rank(2.0) > RMSE.rank(math.inf)
