"""The command line ``ngpd-fl``."""

from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; see ``ngpd_fl.cli.app.main``."""
    try:
        from ngpd_fl.cli import app  # takes a while, in which Ctrl-C may come
    except KeyboardInterrupt:
        return 130
    return app.main(words)
