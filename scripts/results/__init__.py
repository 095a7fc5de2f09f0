"""Tables and figure of the studies in ``benchmarks/studies/results``."""
