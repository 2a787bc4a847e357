"""The seal between a limiter and its controller: HMAC-SHA256 under the node's key, which the agent cannot read."""

import hmac
from enum import Enum
from hashlib import sha256

from google.protobuf.message import DecodeError

from gpuwarden.proto.lease_pb2 import Sealed

KEY_BYTES = 32
HIGHEST_EPOCH = 1 << 62  # a higher one is obeyed by nobody: it would leave no room for the next


class Way(Enum):
    """Which way a message goes. It is under the seal, so that a report cannot come back as a grant."""

    UP = b"report"
    DOWN = b"grant"


class Forged(Exception):
    """The message was not sealed with this node's key, for this node, in this direction."""


def seal(key: bytes, way: Way, node: str, payload: bytes) -> bytes:
    """A serialised `Sealed` around `payload`."""
    return Sealed(node=node, payload=payload, seal=_digest(key, way, node, payload)).SerializeToString()


def unseal(key: bytes, way: Way, node: str, sealed: bytes) -> bytes:
    """The payload, or Forged with the reason."""
    try:
        message = Sealed.FromString(sealed)
    except DecodeError:
        raise Forged("sealed: does not parse") from None
    if message.node != node:
        raise Forged(f"node: is {message.node!r:.60}, should be {node!r}")
    if not hmac.compare_digest(message.seal, _digest(key, way, node, message.payload)):
        raise Forged("seal: does not match the node's key")
    return message.payload


def _digest(key: bytes, way: Way, node: str, payload: bytes) -> bytes:
    assert len(key) == KEY_BYTES, f"a node key has {KEY_BYTES} bytes, this one {len(key)}"
    name = node.encode()
    return hmac.digest(key, b"%s %d %s %s" % (way.value, len(name), name, payload), sha256)
