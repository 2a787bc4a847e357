"""The seal between a limiter and its controller: HMAC-SHA256 under the node's key, which the agent cannot read."""

import hmac
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from gpuwarden.proto.lease_pb2 import Sealed

if TYPE_CHECKING:
    from _hashlib import HASH

KEY_BYTES = 32
HIGHEST_EPOCH = 1 << 62  # a higher one is obeyed by nobody: it would leave no room for the next
KNOWN_NODES: Final = 1 << 15  # of more, some keys are hashed again each time
KNOWN_SIZES: Final = 1 << 10


class Way(bytes, Enum):
    """Which way a message goes. It is under the seal, so that a report cannot come back as a grant."""

    UP = b"report"
    DOWN = b"grant"

    __hash__ = bytes.__hash__  # Enum's own is not in C


class Forged(Exception):
    """The message was not sealed with this node's key, for this node, in this direction."""


def seal(key: bytes, way: Way, node: str, payload: bytes) -> bytes:
    """A serialised `Sealed` around `payload`: the bytes of its fields one after another, since a controller seals thousands at once."""
    return _to(node) + _head(len(payload)) + payload + _SEAL + _digest(key, way, node, payload)


@lru_cache(maxsize=KNOWN_NODES)
def _to(node: str) -> bytes:
    return Sealed(node=node).SerializeToString()


@lru_cache(maxsize=KNOWN_SIZES)
def _head(size: int) -> bytes:
    """What stands before a payload of so many bytes."""
    whole = Sealed(payload=bytes(size)).SerializeToString()
    return whole[: len(whole) - size]


_SEAL: Final = Sealed(seal=bytes(sha256().digest_size)).SerializeToString()[: -sha256().digest_size]


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
    inner, outer = _keyed(key, way, node)
    within, around = inner.copy(), outer.copy()
    within.update(payload)
    around.update(within.digest())
    return around.digest()


@lru_cache(maxsize=KNOWN_NODES * len(Way))
def _keyed(key: bytes, way: Way, node: str) -> "tuple[HASH, HASH]":
    """SHA-256 as it is once HMAC has put the key in (RFC 2104, section 4), and what stands before every payload: that is half of what a seal costs."""
    assert len(key) == KEY_BYTES, f"a node key has {KEY_BYTES} bytes, this one {len(key)}"
    padded, name = key.ljust(sha256().block_size, b"\0"), node.encode()
    inner, outer = (sha256(bytes(byte ^ mask for byte in padded)) for mask in (0x36, 0x5C))
    inner.update(b"%s %d %s " % (way, len(name), name))
    return inner, outer
