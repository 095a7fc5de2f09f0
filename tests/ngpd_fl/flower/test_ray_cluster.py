"""Flower's simulation on a Ray cluster of two machines, each with its own folder for temporary files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ngpd_fl import Config, run, run_flower
from tests.support.ray_cluster import RayMachine, ray_machine


def computing(machines: tuple[RayMachine, ...]) -> list[bool]:
    """Return for each machine whether a process of it hosts clients."""
    folders = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"ray::ClientAppActor"):
                variables = (path / "environ").read_bytes().split(b"\0")
                folders |= {value.partition(b"=")[2].decode() for value in variables if value.startswith(b"TMPDIR=")}
        except OSError:
            continue
    return [str(machine.temporary) in folders for machine in machines]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_clients_spread_over_two_machines_and_follow_the_in_process_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may get each message on another machine: NGPD's curvature then comes from the shared ``state_dir``."""
    settings = Config(
        strategy="ngpd",
        topology={"name": "ring", "nodes": 8},
        training={"rounds": 3, "local_steps": 2},
        engine={"dtype": "float64", "device": "cpu"},
    )
    seen = []
    with ray_machine() as first, ray_machine(first.address) as second:
        monkeypatch.setenv("RAY_ADDRESS", first.address)
        found = run_flower(
            settings,
            tmp_path / "out",
            lambda progress: seen.append(computing((first, second))),
            nodes_per_client=2,
            state_dir=tmp_path / "state",
            on_event=pytest.fail,
        )
    assert seen and all(each == [True, True] for each in seen)
    torch.testing.assert_close(found.params, run(settings).params, rtol=0, atol=1e-9)
