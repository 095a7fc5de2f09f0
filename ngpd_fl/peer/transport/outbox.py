"""Frames that wait for one neighbor: of each edge the newest."""

from __future__ import annotations

import threading
from collections import deque

from ngpd_fl.peer.transport.interface import Frame


class Outbox:
    """Holds the newest frames for each edge, and gives them to the one thread that sends, the oldest first."""

    def __init__(self) -> None:
        """Begin empty, with room for one frame for each edge."""
        self._length = 1
        self._waiting: dict[int, deque[Frame]] = {}
        self._sending = False
        self._closed = False
        self._change = threading.Condition()

    def keep(self, count: int) -> None:
        """Make room for so many frames for each edge."""
        self._length = count

    def put(self, edge: int, frame: Frame) -> bool:
        """Queue a frame, and return whether it replaced an older one; after ``close`` it is dropped."""
        with self._change:
            if self._closed:
                return False
            frames = self._waiting.setdefault(edge, deque())
            frames.append(frame)
            replaced = len(frames) > self._length
            if replaced:
                frames.popleft()
            self._change.notify_all()
            return replaced

    def take(self) -> tuple[int, Frame] | None:
        """Wait for a frame and remove it, one of the edge that has waited longest; None: closed.

        Taking the next frame means that the one before has left or is back.
        """
        with self._change:
            self._sending = False
            self._change.notify_all()
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._sending = True
            edge = next(iter(self._waiting))
            frames = self._waiting.pop(edge)
            frame = frames.popleft()
            if frames:  # at the end of the line
                self._waiting[edge] = frames
            return edge, frame

    def put_back(self, edge: int, frame: Frame) -> bool:
        """Let a frame that did not get through wait again, unless newer ones take the room; return whether it waits."""
        with self._change:
            frames = self._waiting.setdefault(edge, deque())
            has_room = len(frames) < self._length
            if has_room:
                frames.appendleft(frame)
            return has_room

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until ``close``."""
        with self._change:
            self._change.wait_for(lambda: self._closed, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until all has left, or so long."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def close(self) -> None:
        """Drop the waiting frames, and let the sending thread end."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
