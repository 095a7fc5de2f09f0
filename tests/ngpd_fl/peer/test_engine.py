"""Peers that exchange frames compute what the in-process engine computes; nothing that befalls one stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.records import RunFolder
from tests.peers import Crowd


def config(**sections: Any) -> Config:
    values: dict[str, Any] = {
        "data": {"dataset": "digits"},
        "partition": {"name": "classes", "classes_per_node": 3},
        "topology": {"name": "circulant", "nodes": 5},
        "model": {"name": "softmax"},
        "strategy": "ngpd",
        "training": {"rounds": 5, "local_steps": 2},
        "engine": {"dtype": "float64"},
        "evaluation": {"every": 2},
    }
    return Config(**values | sections)


NETWORKS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "losses": {"network": {"message_loss": 0.3}},
    "matchings": {"topology": {"name": "ring", "nodes": 5, "schedule": "matching"}},
}


@pytest.mark.parametrize("strategy", ["ngpd", "ecl", "dsgd", "kfac-gossip"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("hosted", [[[0], [1], [2], [3], [4]], [[3, 0], [1, 2, 4]]])
def test_peers_end_where_the_in_process_engine_does(strategy: str, network: str, hosted: Any, tmp_path: Path) -> None:
    here = config(strategy=strategy, **NETWORKS[network])
    summaries = Crowd(here, tmp_path, hosted).run()
    expected = run(here)
    for number, summary in enumerate(summaries):
        assert summary["status"] == "finished"
        assert summary["peer"]["frames_refused"] == {} and summary["peer"]["rounds_skipped"] == 0
        models = RunFolder(tmp_path / f"peer{number}").models()
        for node in hosted[number]:
            params = expected.model.flatten(models[f"node{node}"])
            torch.testing.assert_close(params, expected.params[node], rtol=0, atol=1e-12)
    assert sum(summary["bytes_sent"] for summary in summaries) == expected.summary["bytes_sent"]
    assert sum(summary["node_steps"] for summary in summaries) == expected.summary["node_steps"]
