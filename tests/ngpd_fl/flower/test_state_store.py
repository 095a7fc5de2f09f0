"""Where a client's state lies between two messages."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.flower.client import state_store
from ngpd_fl.training import compose
from tests.support.flower import FakeRun

SETTINGS = Config(
    strategy="ngpd",
    topology={"name": "ring", "nodes": 4},
    training={"rounds": 4, "local_steps": 1},
    model={"name": "mlp", "hidden": (4,)},
    engine={"device": "cpu"},
)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Ray as the process sees it: for each of its machines whether it is there."""
    alive: list[bool] = []
    nodes = lambda: [{"Alive": each} for each in alive]  # noqa: E731
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: bool(alive), nodes=nodes))
    monkeypatch.setattr(state_store, "_is_one_machine", state_store._is_one_machine.__wrapped__)
    return alive


@pytest.mark.parametrize(
    ("alive", "travels"), [([], True), ([True], False), ([True, False], False), ([True, True], True)]
)
def test_the_state_travels_only_where_it_has_to(machines: list[bool], alive: list[bool], travels: bool) -> None:
    machines += alive
    fake = FakeRun(SETTINGS).go()
    states = [context.state for context in fake.grid.contexts.values()]
    assert [state_store._TENSORS in state for state in states] == [travels] * 4


def test_the_context_suffices_on_another_machine(machines: list[bool], tmp_path: Path) -> None:
    """All but the curvature, that is, which is estimated anew."""
    machines += [True, True]

    def fault(kind: str, number: int, client: int) -> None:
        if (kind, number, client) == ("train", 2, 1):
            for path in tmp_path.glob("scratch-*/client1/*"):
                path.unlink()

    fake = FakeRun(SETTINGS, fault, forgetful=True).go()
    assert fake.events() == [(2, 1, "had lost its curvature and estimates it anew")]


def test_with_a_state_dir_the_curvature_too_is_there_on_another_machine(machines: list[bool], tmp_path: Path) -> None:
    """One that has the folder, but nothing in its own scratch folder."""
    machines += [True, True]

    def fault(kind: str, number: int, client: int) -> None:
        for path in tmp_path.glob("scratch-*/client1-*"):
            path.unlink()

    fake = FakeRun(SETTINGS, fault, forgetful=True, state_dir=tmp_path / "shared").go()
    assert fake.events() == []
    model = compose(SETTINGS).model
    torch.testing.assert_close(fake.params(model), run(SETTINGS).params.double(), rtol=0, atol=1e-5)


def test_a_state_that_somebody_removed_is_lost(machines: list[bool], tmp_path: Path) -> None:
    machines += [True]

    def fault(kind: str, number: int, client: int) -> None:
        if (kind, number, client) == ("train", 2, 1):
            for path in tmp_path.glob("scratch-*/client1/state-*"):
                path.unlink()

    fake = FakeRun(SETTINGS, fault, forgetful=True).go()
    assert "its state of round 1 is lost (no state-dir)" in fake.events()[0][2]


@pytest.mark.parametrize("alone", [True, False])
def test_the_scratch_folder_does_not_grow(alone: bool, machines: list[bool], tmp_path: Path) -> None:
    """Two states and two curvatures of a client: the newest, and what it came from."""
    machines += [True] * (1 if alone else 2)
    most = 0

    def fault(kind: str, number: int, client: int) -> None:
        nonlocal most
        most = max(most, len(list(tmp_path.glob("scratch-*/client1/*"))))

    FakeRun(SETTINGS, fault, forgetful=True).go()
    assert most == (4 if alone else 2)
    assert not list(tmp_path.glob("scratch-*"))


def test_a_process_keeps_the_last_clients_within_its_part_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory for two of four; the others are read again, and nothing else changes."""
    expected = FakeRun(SETTINGS).go()
    state_store._in_process.clear()
    held: list[list[int]] = []

    def fault(kind: str, number: int, client: int) -> None:
        held.append([other for _, other in state_store._in_process])
        size = max((newest.size for newest in state_store._in_process.values()), default=1)
        monkeypatch.setattr(state_store, "memory", lambda: 4 * 3 * 2 * size)
        state_store._memory_limit.cache_clear()

    monkeypatch.setattr(state_store, "cores", lambda: 3)
    fake = FakeRun(SETTINGS, fault).go()
    assert held[-8:-5] == [[2, 3], [3, 0], [0, 1]]  # the last round; with the last evaluation they are let go
    assert fake.recorder.metrics[-1].accuracy == expected.recorder.metrics[-1].accuracy
