"""A node as a process of its own, which exchanges with its neighbors directly."""
