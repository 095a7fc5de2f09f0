"""Flower on machines of one's own: keys, services that stay up, and runs. See docs/how-to/deployment.md.

Services stay for weeks on small computers: what keeps them up imports neither torch nor the configuration.
"""

PORT = 9092
"""Where the SuperLink listens, for nodes and for runs."""


def bad_input(words: str) -> ValueError:
    """Return the ``InputError`` to raise; its module is imported only now, since that brings torch along."""
    from ngpd_fl.config import InputError

    return InputError(words)
