"""Messages on the Unix socket between agent and limiter: four bytes of length, big-endian, then a serialised `Sealed`."""

import socket
import struct
from typing import Final

MAX_FRAME_BYTES: Final = 64 << 10  # a report on 256 cards has 25 KiB
MAX_GRANT_BYTES: Final = 8 << 10  # a grant for 256 cards has 3 KiB
_LENGTH: Final = struct.Struct(">I")


class BadFrame(Exception):
    """The peer does not speak this protocol, or a frame was torn: the connection is of no more use."""


def read_frame(connection: socket.socket, most_bytes: int = MAX_FRAME_BYTES) -> bytes | None:
    """The next frame; None if the peer has closed. Raises BadFrame, OSError."""
    head = _read(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= most_bytes:
        raise BadFrame(f"length: is {length}, should be 1 to {most_bytes} bytes")
    body = _read(connection, length)
    if body is None:
        raise BadFrame("the connection ended within a frame")
    return body


def _read(connection: socket.socket, length: int) -> bytes | None:
    """Exactly `length` bytes; None if there are none at all."""
    got = b""
    while len(got) < length:
        part = connection.recv(length - len(got))
        if not part:
            if got:
                raise BadFrame("the connection ended within a frame")
            return None
        got += part
    return got


def write_frame(connection: socket.socket, body: bytes) -> bool:
    """Never waits: False if the peer has left no room for a frame. Raises BadFrame if one was torn, OSError."""
    assert len(body) <= MAX_FRAME_BYTES, f"a frame of {len(body)} bytes"
    frame = _LENGTH.pack(len(body)) + body
    try:
        sent = connection.send(frame, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    if sent < len(frame):
        raise BadFrame("the peer does not read: a frame was torn")
    return True
