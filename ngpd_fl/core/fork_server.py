"""Setup of the server from which sweeps and studies fork their processes; only that server imports it.

The server is started as ``python -c``, which finds modules in the working folder before any library: a ``datasets.py``
there would be taken for the library of that name. And it outlives the terminal that was closed, as the processes do
that it forks: the first process decides what becomes of them.
"""

import signal
import sys

if sys.path[:1] == [""]:
    sys.path.append(sys.path.pop(0))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
