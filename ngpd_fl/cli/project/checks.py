"""Tests of this project, in seconds: call ``pytest`` in its folder (``pip install pytest`` once)."""

from pathlib import Path

from ngpd_fl import Config, run

CONFIG = Path(__file__).with_name("config.toml")


def test_the_nodes_learn() -> None:
    """The nodes' mean accuracy on test data of all classes rises far above chance, 1/3."""
    result = run(Config.load(CONFIG, {"training.rounds": 8}))
    assert result.metrics[-1].mean > 0.6


def test_the_same_seed_gives_the_same_result() -> None:
    """Two runs of one configuration are equal, bit for bit."""
    first, second = (run(Config.load(CONFIG, {"training.rounds": 2})) for _ in range(2))
    assert first.params.equal(second.params)
