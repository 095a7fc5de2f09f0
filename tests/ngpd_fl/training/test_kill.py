"""``kill -9`` at random moments: the run that is resumed is the unbroken one, bit for bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.training.run import resume, run
from tests.support.interrupted_runs import FAST, assert_same_records, kill

UNEVEN = {"step_sigma": 0.5, "link_sigma": 0.5, "mix": {"phone-fast": 1, "phone-mid": 1}}
MODES: dict[str, dict[str, Any]] = {
    "no-clock": {},
    "synchronous": {"devices": UNEVEN},
    "neighbor-synchronous": {"training": {"mode": "neighbor-synchronous"}, "devices": UNEVEN},
    "asynchronous": {"training": {"mode": "asynchronous"}, "devices": UNEVEN},
}
"""Ways to run a round -> keys of the configuration. By the clock the event log is written as well."""

SETTINGS: dict[str, dict[str, Any]] = {
    "ngpd": {
        "strategy": {"name": "ngpd", "theta": 0.5, "factor_every": 3, "basis_every": 7},
        "network": {"message_loss": 0.2},
        "training": {"rounds": 40, "local_steps": 1, "lr_schedule": "cosine"},
    },
    "ecl": {
        "strategy": "ecl",
        "topology": {"name": "star", "nodes": 6, "schedule": "matching"},
        "training": {"rounds": 40, "local_steps": 3},
    },
    "dsgd": {
        "strategy": {"name": "dsgd", "momentum": 0.9},
        "network": {"message_loss": 0.1},
        "training": {"rounds": 40, "local_steps": 3, "lr_schedule": "step", "lr_milestones": [15]},
    },
}


QUICK = {("no-clock", name) for name in SETTINGS} | {
    ("synchronous", "dsgd"),
    ("neighbor-synchronous", "ecl"),
    ("asynchronous", "ngpd"),
}
"""What is tried with a single kill each time the tests are run."""

CASES = [
    pytest.param(mode, name, kills, id=f"{mode}-{name}-{kills}", marks=[pytest.mark.slow] * (kills > 1))
    for mode in MODES
    for name in SETTINGS
    for kills in (1, 7)
    if kills > 1 or (mode, name) in QUICK
]


@pytest.mark.parametrize(("mode", "name", "kills"), CASES)
def test_kill(mode: str, name: str, kills: int, tmp_path: Path) -> None:
    values = FAST | SETTINGS[name] | MODES[mode]
    values["training"] = SETTINGS[name]["training"] | MODES[mode].get("training", {})
    config = Config(**values)
    (tmp_path / "config.toml").write_text(config.to_toml())
    whole = run(config, tmp_path / "whole", event_log=config.has_clock)
    cut, moments = tmp_path / "cut", random.Random(f"{mode} {name} {kills}")
    words = ["run", "--config", str(tmp_path / "config.toml"), "--out", str(cut), "--checkpoint-every", "1"]
    words += ["--event-log"] * config.has_clock
    for evaluations in sorted(moments.randint(1, len(whole.metrics) // 2) for _ in range(kills)):
        kill(words, cut, evaluations, moments.uniform(0, 0.02))
        words = ["resume", str(cut)]
    said: list[str] = []
    result = resume(cut, on_event=said.append)
    assert result.params.equal(whole.params)
    assert_same_records(cut, tmp_path / "whole")
    left = {path.name for path in cut.rglob("*") if path.parent.name != "checkpoints"} - {"checkpoints"}
    assert left == {path.name for path in (tmp_path / "whole").rglob("*")}
    assert all(path.name.startswith(("round-", "plan")) for path in (cut / "checkpoints").iterdir())
    # It may have been killed before the first checkpoint, or between the two files of one.
    assert all("No such file" in line or "there is no checkpoint" in line for line in said) and len(said) <= 1, said
