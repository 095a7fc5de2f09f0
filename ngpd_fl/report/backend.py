"""Imports matplotlib, before any module here does, whatever ``MPLBACKEND`` says: a name that is not known would end it.

Pictures are drawn by Agg in any case; the name that is known stays what the user's own pictures are drawn by.
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
