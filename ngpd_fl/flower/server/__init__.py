"""The server's process: the ServerApp, its clients, and the exchange of their messages."""
