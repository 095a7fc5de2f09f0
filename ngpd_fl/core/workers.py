"""Worker threads that compute blocks of nodes side by side.

PyTorch's operations release the interpreter's lock, so that threads share the cores, and the memory with all of the
network's state, which processes would have to copy. How blocks are made does not depend on the number of workers, and
no block reads what another one writes: results are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Workers:
    """A pool of threads; one worker is the caller's own thread.

    Attributes:
        count: how many calls run at once.
    """

    def __init__(self, count: int = 1) -> None:
        """Start no thread before the first call. Each has as many of torch's CPU threads as the caller has here."""
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        if count > 1:
            self._pool = ThreadPoolExecutor(count, "worker", torch.set_num_threads, (torch.get_num_threads(),))

    def map(self, function: Callable[..., T], *items: Iterable[Any]) -> list[T]:
        """Return the function's results for each of the items, in their order.

        Raises:
            Exception: what the first of the calls that failed has raised, after all of them have ended.
        """
        calls = list(zip(*items, strict=True))
        if self._pool is None or len(calls) < 2:
            return [function(*call) for call in calls]
        futures = [self._pool.submit(function, *call) for call in calls]
        try:
            return [future.result() for future in futures]
        finally:  # an exception leaves nothing behind that still writes
            for future in futures:
                future.cancel()
            wait(futures)
