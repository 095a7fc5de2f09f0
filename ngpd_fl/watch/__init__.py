"""The live page: run folders and studies shown in a browser while they grow. It only reads them.

from ngpd_fl.watch.server import serve
serve(["runs/digits-ngpd-1"])
"""

from ngpd_fl.config.extras import require_extra

require_extra("watch", "a live page")
