"""What is posted to a webhook."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Post:
    """`id` is the same however often one is sent: receivers may drop repeats."""

    content_type: str
    body: bytes
    id: str
