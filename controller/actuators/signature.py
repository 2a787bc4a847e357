"""Signed webhooks, as the Standard Webhooks specification has them: who holds the secret knows that it was us, and when.

A receiver refuses what is altered, what is older than a few minutes, and an id that it has had before.
"""

import base64
import binascii
import hmac
from hashlib import sha256
from typing import Final

from gpuwarden.controller.actuators.post import Post
from gpuwarden.core.config import ConfigError

ENCODED: Final = "whsec_"


def secret_of(text: str) -> bytes:
    """A secret as its text stands for it: base64 after `whsec_`, as the specification's libraries have it, else the text itself."""
    if not text.startswith(ENCODED):
        return text.encode()
    try:
        secret = base64.b64decode(text.removeprefix(ENCODED), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not secret:
        raise ConfigError(f"after {ENCODED} there should be base64")
    return secret


def signed(secret: bytes, post: Post, unix_s: int) -> dict[str, str]:
    """The headers of one attempt at `unix_s`. The id stays the same over attempts."""
    id = sha256(post.id.encode()).hexdigest()[:32]
    digest = hmac.digest(secret, b"%s.%d.%s" % (id.encode(), unix_s, post.body), sha256)
    return {"webhook-id": id, "webhook-timestamp": str(unix_s), "webhook-signature": "v1," + base64.b64encode(digest).decode()}
