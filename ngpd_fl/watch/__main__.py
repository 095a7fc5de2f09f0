"""The process beside a run: ``python -m ngpd_fl.watch DESCRIPTOR FOLDER``. It ends with its input."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    """Serve the page of the folder at the socket that was passed on, from the first visit on.

    Until then it costs nothing: the packages that read records take a second of a core to import.
    """
    descriptor, folder = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(fileno=int(descriptor))
    ready, _, _ = select.select([sys.stdin, listening], [], [])
    if sys.stdin in ready:  # the run has ended, and nobody came
        return
    from ngpd_fl.watch.address import PageAddress
    from ngpd_fl.watch.beside import low_priority
    from ngpd_fl.watch.server import serve

    low_priority()
    serve([Path(folder)], PageAddress(listening, "127.0.0.1", ""), until=sys.stdin.buffer.read)
    os._exit(0)  # the run waits for this process: freeing libraries would take half a second


if __name__ == "__main__":
    main()
