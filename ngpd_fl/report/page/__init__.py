"""Self-contained web page about any number of runs.

from ngpd_fl.report.page import write_page
write_page(["runs/demo-1"], "report.html")
"""

from ngpd_fl.report.page.document import write_page

__all__ = ["write_page"]
