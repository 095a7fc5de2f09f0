"""What tests of transports share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ngpd_fl.deploy.authority import Authority, certificate_pem, new_key, private_pem
from ngpd_fl.peer.transport import MemoryNetwork, Routes


class Shelf:
    """Keeps what comes; called as ``receive``."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self._change = threading.Condition()

    def __call__(self, edge: int, frame: memoryview) -> None:
        with self._change:
            self.frames.append((edge, bytes(frame)))
            self._change.notify_all()

    def wait(self, number: int, seconds: float = 60.0) -> list[tuple[int, bytes]]:
        """What has come, once so many are there."""
        with self._change:
            assert self._change.wait_for(lambda: len(self.frames) >= number, seconds), self.frames
            return list(self.frames)


class Caller:
    """What speaks for a process: it is the only other end of its edges, and says what it likes."""

    def __init__(self, network: MemoryNetwork, routes: Routes) -> None:
        self.heard = Shelf()
        self._transport = network.transport(routes)
        self._transport.start(self.heard)

    def send(self, edge: int, frame: Sequence[bytes | memoryview]) -> None:
        self._transport.send(edge, frame)

    def close(self) -> None:
        self._transport.close()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def member(folder: Path, authority: Authority, name: str = "node0", days: float = 1.0) -> Path:
    """A folder such as ``deploy keys`` makes."""
    key = new_key()
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(certificate_pem(authority.certificate))
    (folder / f"{name}.crt").write_bytes(certificate_pem(authority.sign(name, key.public_key(), [name], days)))
    (folder / f"{name}.key").touch(0o600)
    (folder / f"{name}.key").write_bytes(private_pem(key))
    return folder
