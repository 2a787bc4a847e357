"""Signed webhooks, as the Standard Webhooks specification has them: who holds the secret knows that it was us, and when.

A receiver refuses what is altered, what is older than a few minutes, and an id that it has had before.
"""

import base64
import hmac
from hashlib import sha256

from gpuwarden.controller.actuators.post import Post


def signed(secret: bytes, post: Post, unix_s: int) -> dict[str, str]:
    """The headers of one attempt at `unix_s`. The id stays the same over attempts."""
    id = sha256(post.id.encode()).hexdigest()[:32]
    digest = hmac.digest(secret, b"%s.%d.%s" % (id.encode(), unix_s, post.body), sha256)
    return {"webhook-id": id, "webhook-timestamp": str(unix_s), "webhook-signature": "v1," + base64.b64encode(digest).decode()}
