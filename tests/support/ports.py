"""Free ports of this machine."""

from __future__ import annotations

from benchmarks._fleet import free_ports

__all__ = ["free_port", "free_ports"]


def free_port() -> int:
    """Return a port at which nobody listens now."""
    return free_ports(1)[0]
