"""Frames that wait for one neighbour: of each edge the newest."""

from __future__ import annotations

import threading

from ngpd_fl.peer.transport.interface import Frame


class Outbox:
    """Holds at most one frame for each edge, and gives them to the one thread that sends."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: dict[int, Frame] = {}
        self._sending = False
        self._closed = False
        self._change = threading.Condition()

    def put(self, edge: int, frame: Frame) -> bool:
        """Let a frame wait, and return whether an older one gave way; after ``close`` it is dropped."""
        with self._change:
            if self._closed:
                return False
            replaced = edge in self._waiting
            self._waiting[edge] = frame
            self._change.notify_all()
            return replaced

    def take(self) -> tuple[int, Frame] | None:
        """Wait for a frame and remove it, the one whose edge has waited longest; None: closed.

        Taking the next says that the one before has left or is back.
        """
        with self._change:
            self._sending = False
            self._change.notify_all()
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._sending = True
            edge = next(iter(self._waiting))
            return edge, self._waiting.pop(edge)

    def put_back(self, edge: int, frame: Frame) -> bool:
        """Let a frame that did not get through wait again, unless a newer one does, and return whether it waits."""
        with self._change:
            return self._waiting.setdefault(edge, frame) is frame

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until ``close``."""
        with self._change:
            self._change.wait_for(lambda: self._closed, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until all has left, or so long."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def close(self) -> None:
        """Drop what waits, and let the thread that sends end."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
