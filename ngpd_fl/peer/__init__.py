"""Peers: nodes as processes of their own, which exchange messages with their neighbors directly."""
