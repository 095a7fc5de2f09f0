"""Helpers of the tests: naive references, fixtures of runs and networks, and a pretended device."""
