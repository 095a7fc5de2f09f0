"""Self-contained web page about any number of runs.

from ngpd_fl.report.page import write_page
write_page(["runs/demo-1"], "report.html")
"""

from ngpd_fl.config.extras import require_extra

require_extra("report", "a report's page")

from ngpd_fl.report.page.document import write_page  # noqa: E402

__all__ = ["write_page"]
