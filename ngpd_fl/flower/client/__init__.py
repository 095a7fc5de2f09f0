"""The client's process: the ClientApp and the nodes that it hosts."""
