"""Waiting of Flower's server for its clients, on a clock that is set by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ngpd_fl.flower.events import WaitingEvent, read_event
from ngpd_fl.flower.server import clients as clients_module
from ngpd_fl.flower.server.clients import Clients, Unfit

Gather = Callable[..., float]


class Arrivals:
    """A clock, and a grid to which a client comes at each of some times."""

    def __init__(self, times: Sequence[float]) -> None:
        self.now, self.times = 0.0, times

    def monotonic(self) -> float:
        return self.now

    def get_node_ids(self) -> list[int]:
        return [number for number, time in enumerate(self.times) if time <= self.now]


@pytest.fixture
def gather(monkeypatch: pytest.MonkeyPatch) -> Gather:
    """Wait for clients that come at these times, and return when the waiting was over."""

    def gather(times: Sequence[float], count: int, timeout: float = 300.0, *, simulated: bool) -> float:
        arrivals: Any = Arrivals(times)
        clients = Clients(arrivals, "code", threading.Event())

        def wait(seconds: float) -> None:
            arrivals.now += seconds

        monkeypatch.setattr(clients_module, "time", arrivals)
        monkeypatch.setattr(clients, "wait", wait)
        try:
            assert len(clients._gather(count, timeout, simulated)) == count
        except Unfit as error:
            raise Unfit(f"after {arrivals.now:.0f} s: {error}") from error
        return float(arrivals.now)

    return gather


def test_a_simulation_does_not_wait_for_clients_that_nobody_makes(
    gather: Gather, capsys: pytest.CaptureFixture[str]
) -> None:
    words = r'after 53 s: 2 of 8 clients are there: run with --federation-config "num-supernodes=8", or give each more'
    with pytest.raises(Unfit, match=words):
        gather([50, 50], 8, simulated=True)
    assert capsys.readouterr().out == ""


def test_a_simulation_waits_for_the_first_client_and_for_others_that_still_come(gather: Gather) -> None:
    assert gather([100, 102, 104, 106], 4, simulated=True) == pytest.approx(106, abs=0.2)
    with pytest.raises(Unfit, match=r"after 300 s: 0 of 4 clients are there"):
        gather([], 4, simulated=True)


def test_a_deployment_waits_for_clients_that_are_started_later_and_says_so(
    gather: Gather, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gather([0, 0, 0, 0, 1, 40], 6, simulated=False) == pytest.approx(40, abs=0.2)
    said = list(map(read_event, capsys.readouterr().out.splitlines()))
    assert said == [WaitingEvent(connected=connected, expected=6) for connected in (4, 5, 5, 5)]
    with pytest.raises(Unfit, match="after 60 s: 5 of 6 clients are there: connect the others, or give each more"):
        gather([0] * 5, 6, 60.0, simulated=False)
