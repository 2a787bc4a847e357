"""The page's ways to the machines, which are those that gRPC calls take, and by which name it goes there."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from gpuwarden.controller.events import Event
from gpuwarden.controller.isolation import events as isolation
from gpuwarden.controller.web.users import User


@dataclass(frozen=True, slots=True)
class Ask:
    """Each from any thread: a serialised response, or a sentence; or Refused."""

    machine: Callable[[Callable[[int], Event]], Future[bytes]]
    isolation: Callable[[Callable[[int], isolation.Event]], Future[str]]


def actor_of(user: User) -> str:
    """As the ledger has it; no user's name has a space, and no call over gRPC goes by such a name."""
    return f"{user.name} on the page"
