"""A node as a process of its own, which talks to its neighbors directly."""
