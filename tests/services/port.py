"""Free ports, and waiting for a server to listen."""

import socket
import subprocess
import time
from pathlib import Path


class NotStarted(Exception):
    """A server ended, or did not listen in time. Holds the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_open(port: int, server: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    """Returns once `port` takes connections; NotStarted if the server ends first or the time is over."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise NotStarted(f"port {port} is not open after {timeout_s} s; the log ends with\n{log.read_text()[-4000:]}")
