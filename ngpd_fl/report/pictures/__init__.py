"""Pictures, drawn by matplotlib from the records of runs.

matplotlib is imported here without ``MPLBACKEND``, because an unknown backend there would fail the import. Pictures are
drawn by Agg in any case. A known backend is set afterwards for the user's own.
"""

import os
from contextlib import suppress

from ngpd_fl.config.extras import require_extra

require_extra("report", "pictures")
_named = os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib
finally:
    if _named is not None:
        os.environ["MPLBACKEND"] = _named
if _named:
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _named

from ngpd_fl.report.pictures.plots import write_plots  # noqa: E402

__all__ = ["write_plots"]
