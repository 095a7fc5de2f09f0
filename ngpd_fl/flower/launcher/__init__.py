"""The launcher's process: starts a SuperLink where needed, submits a run and follows it."""

from ngpd_fl.config.extras import require_extra

require_extra("flower", "Flower")
