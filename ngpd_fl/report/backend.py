"""Import of matplotlib that ignores ``MPLBACKEND``, because an unknown backend there would fail the import.

Reports are drawn by Agg in any case. A known backend is set afterwards for the user's own pictures.
"""

import os
from contextlib import suppress

_named = os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib
finally:
    if _named is not None:
        os.environ["MPLBACKEND"] = _named
if _named:
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _named
