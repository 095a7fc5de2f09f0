"""Nodes as Flower clients; a server that carries their messages and holds no model. See docs/how-to/flower.md."""
