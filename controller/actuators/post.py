"""What is posted to a webhook."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Post:
    content_type: str
    body: bytes
