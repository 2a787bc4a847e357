"""How a receiver is reached: its address, what signs a post to it, and its routing key. None of these is ever logged."""

from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gpuwarden.controller.actuators.post import Post
from gpuwarden.controller.actuators.signature import secret_of, signed
from gpuwarden.controller.config import WebhookConfig, is_http
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private


@dataclass(frozen=True, slots=True)
class Reach:
    """As the files say now."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    routing_key: str = field(repr=False)

    def headers(self, post: Post, unix_s: int) -> dict[str, str]:
        """Of one attempt."""
        signature = signed(self.secret, post, unix_s) if self.secret else {}
        return {"Content-Type": post.content_type, **signature}


def read_reach(config: WebhookConfig) -> Reach:
    """ConfigError names the key, the file and what is wrong, not what is in it."""
    secret = _secret(config.secret_file) if config.secret_file else b""
    routing_key = _read("routing_key_file", config.routing_key_file) if config.routing_key_file else ""
    return Reach(read_url(config.url, config.url_file), secret, routing_key)


def _secret(path: Path) -> bytes:
    text = _read("secret_file", path)
    try:
        return secret_of(text)
    except ConfigError as why:
        raise ConfigError(f"secret_file: {path}: {why}") from None


def read_url(url: str, url_file: Path | None) -> str:
    """The address, from the file if there is one."""
    if url_file is None:
        return url
    found = _read("url_file", url_file)
    if not is_http(found):
        raise ConfigError(f"url_file: {url_file}: should hold http://... or https://... and nothing else")
    return str(httpx.URL(found))


def _read(key: str, path: Path) -> str:
    try:
        found = read_private(path)
    except ConfigError as why:
        raise ConfigError(f"{key}: {why}") from None
    if not found:
        raise ConfigError(f"{key}: {path} is empty")
    return found
