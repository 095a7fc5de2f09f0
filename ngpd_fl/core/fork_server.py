"""Setup of the server from which sweeps and studies fork their processes; only that server imports it.

The server is started as ``python -c``, which finds modules in the working folder before any library: a ``datasets.py``
there would be taken for the library of that name. And it outlives Ctrl-C, also while it imports, and the terminal that
was closed, as the processes do that it forks: the first process decides what becomes of them.
"""

import signal
import sys

if sys.path[:1] == [""]:
    sys.path.append(sys.path.pop(0))
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked until here, see ``_start_server``
