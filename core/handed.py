"""Sockets that the service manager has made and handed over, as sd_listen_fds(3) has it."""

import os
import socket
from collections.abc import Mapping
from typing import Final

FIRST: Final = 3


def handed_sockets(environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """In the order of the `.socket` unit; none where they are another process's, or there are none."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    made = [socket.socket(fileno=FIRST + place) for place in range(int(environ.get("LISTEN_FDS", "0")))]
    for one in made:
        one.set_inheritable(False)
    return made
