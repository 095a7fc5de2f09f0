"""The program that Flower starts for a message: asks ``warm_start`` for a fork, or becomes Flower's own program.

It runs by its path, ``warm_start_client.py SOCKET PROGRAM WORDS``. It imports only the standard library, to be fast.
"""

import json
import os
import socket
import sys

if __name__ == "__main__":
    address, program, *words = sys.argv[1:]
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(json.dumps(words).encode())
    except OSError:
        os.execv(program, [program, *words])
