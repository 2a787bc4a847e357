"""A client of NCCL's RAS port: one question, one answer, within a deadline. Protocol 2, as NCCL's `src/ras/client.cc` speaks it."""

import socket
import time
from typing import Final

from gpuwarden.core.address import Address

DEADLINE_S: Final = 20.0  # the server itself gives up on its peers after TIMEOUT_S
TIMEOUT_S: Final = 10
MOST_BYTES: Final = 64 << 20
MOST_LINE: Final = 256


class RasFailed(Exception):
    """Nobody is there, or the answer is none; the reason."""


class RasAway(RasFailed):
    """Nobody listens: no job with NCCL runs there, or it has RAS switched off."""


def ask(at: Address, deadline_s: float = DEADLINE_S) -> bytes:
    """What `VERBOSE STATUS` says as JSON. A server that cannot say it so (before NCCL 2.28.7, of which some crash when they are asked) is not asked. Raises RasFailed."""
    until_s = time.monotonic() + deadline_s
    try:
        with socket.create_connection((at.host, at.port), deadline_s) as connection:
            talk = _Talk(connection, until_s)
            server = talk.said("CLIENT PROTOCOL 2")
            if not server.startswith("SERVER PROTOCOL "):
                raise RasFailed(f"SERVER PROTOCOL: is {server[:50]!r}: that is no RAS port")
            if (said := talk.said("SET FORMAT json")) != "OK":
                raise RasFailed(f"SET FORMAT json: {said[:50]!r}: NCCL is older than 2.28.7, and is not asked")
            if (said := talk.said(f"TIMEOUT {TIMEOUT_S}")) != "OK":
                raise RasFailed(f"TIMEOUT: {said[:50]!r}")
            return talk.all_of("VERBOSE STATUS")
    except TimeoutError:
        raise RasFailed(f"no answer within {deadline_s:g} s") from None
    except ConnectionRefusedError:
        raise RasAway("nobody listens there") from None
    except OSError as why:
        raise RasFailed(why.strerror or str(why)) from None


class _Talk:
    def __init__(self, connection: socket.socket, until_s: float) -> None:
        self._connection, self._until_s, self._came = connection, until_s, b""

    def said(self, command: str) -> str:
        """A line."""
        self._send(command)
        while b"\n" not in self._came:
            if len(self._came) > MOST_LINE or not self._more():
                raise RasFailed(f"{command}: the answer is no line: {self._came[:50]!r}")
        line, _, self._came = self._came.partition(b"\n")
        return line.decode("utf-8", errors="replace").strip()

    def all_of(self, command: str) -> bytes:
        """Until the server closes."""
        self._send(command)
        parts, size = [self._came], len(self._came)
        self._came = b""
        while self._more():
            size += len(self._came)
            if size > MOST_BYTES:
                raise RasFailed(f"{command}: the answer has more than {MOST_BYTES} bytes")
            parts.append(self._came)
            self._came = b""
        return b"".join(parts)

    def _send(self, command: str) -> None:
        self._wait_no_longer()
        self._connection.sendall(f"{command}\n".encode())

    def _more(self) -> bool:
        self._wait_no_longer()
        came = self._connection.recv(1 << 16)
        self._came += came
        return bool(came)

    def _wait_no_longer(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
