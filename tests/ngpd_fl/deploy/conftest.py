"""What the tests of a deployment share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, family, own_address


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A SuperLink that admits four nodes."""
    folder = tmp_path_factory.mktemp("deployment")
    with Deployment(folder, 4, ["127.0.0.1", own_address()]) as started:
        started.superlink("0.0.0.0").wait_for("superlink takes 4 nodes")
        yield started
    assert family(folder) == {}
