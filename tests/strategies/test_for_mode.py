"""Options of an algorithm in a mode of training."""

from __future__ import annotations

import pytest

from strategies import STRATEGIES

LONG = ["neighbor-synchronous", "asynchronous"]


@pytest.mark.parametrize("mode", ["synchronous", *LONG])
@pytest.mark.parametrize("name", STRATEGIES)
def test_only_edge_consensus_depends_on_the_mode(name: str, mode: str) -> None:
    options = STRATEGIES[name][0]()
    changed = options.for_mode(mode)
    if hasattr(options, "memory") and mode in LONG:
        assert changed.memory == 4 and changed.model_copy(update={"memory": None}) == options
    else:
        assert changed == options


@pytest.mark.parametrize("mode", ["synchronous", *LONG])
def test_a_given_memory_stays(mode: str) -> None:
    options = STRATEGIES["ecl"][0](memory=2)
    assert options.for_mode(mode) is options
