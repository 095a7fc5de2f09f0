"""Flower on your own machines: keys, long-running services, and runs. See docs/how-to/deployment.md.

Services run for weeks on small computers. The code that keeps them up imports neither torch nor the configuration.
"""

PORT = 9092
"""Port of the SuperLink, for nodes and for runs."""


def bad_input(words: str) -> ValueError:
    """Return the ``InputError`` to raise. Its module is imported here, on demand, because it imports torch."""
    from ngpd_fl.config import InputError

    return InputError(words)
