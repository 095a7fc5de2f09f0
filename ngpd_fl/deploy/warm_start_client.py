"""What Flower starts for a message where ``warm`` waits: hands its words over, or becomes Flower's program.

Run by its path, ``knock.py SOCKET PROGRAM WORDS``, without any library: it must be quick.
"""

import json
import os
import socket
import sys

if __name__ == "__main__":
    address, program, *words = sys.argv[1:]
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(address)
            line.sendall(json.dumps(words).encode())
    except OSError:
        os.execv(program, [program, *words])
