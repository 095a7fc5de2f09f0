"""What the tests of the Flower mode share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ngpd_fl.flower.client import peer_process, state_store
from ngpd_fl.flower.server import app as server_app


@pytest.fixture(autouse=True)
def _own_scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Clients in this process put what they leave where it is removed with the test, and processes of theirs end."""
    for module in (state_store, peer_process, server_app):
        monkeypatch.setattr(module, "scratch", lambda run_id: tmp_path / f"scratch-{run_id}")
    yield
    for lease in tmp_path.glob("**/peer*/lease"):
        lease.unlink()
