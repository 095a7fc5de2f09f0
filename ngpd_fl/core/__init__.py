"""Foundations that every other package stands on: keyed randomness, batching over nodes, message loss, the machine."""
