"""Who is logged in. In memory only: a restart of the controller logs everybody out."""

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.web.users import Role, User, Users

TOKEN_BYTES: Final = 32
MOST_SESSIONS: Final = 256
MOST_OF_ONE: Final = 16  # so that one user's browsers cannot drive out all others'
LIFE_S: Final = 12 * 3600.0
# Whoever may change something and has not for so long is logged out; somebody who only looks may look all day.
IDLE_S: Final = {Role.ADMIN: 1800.0, Role.OPERATOR: 1800.0, Role.VIEWER: LIFE_S}


@dataclass(slots=True)
class Session:
    """`csrf` goes with every change, so that a cookie alone moves nothing. Times are seconds of a monotonic clock."""

    user: User
    csrf: str
    began_s: float
    used_s: float

    @property
    def ends_s(self) -> float:
        return min(self.began_s + LIFE_S, self.used_s + IDLE_S[self.user.role])


class Sessions:
    """Bounded, each user's and all: the one that was opened or used longest ago goes first. Tokens are kept as digests only."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, user: User) -> str:
        """The token that the user's browser is to show."""
        token, now_s = secrets.token_urlsafe(TOKEN_BYTES), time.monotonic()
        mine = [key for key, session in self._sessions.items() if session.user.name == user.name]
        if len(mine) >= MOST_OF_ONE:
            del self._sessions[mine[0]]
        elif len(self._sessions) >= MOST_SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[_digest(token)] = Session(user, secrets.token_urlsafe(TOKEN_BYTES), now_s, now_s)
        return token

    def find(self, token: str) -> Session | None:
        """None once it has ended, or once the user's password or role is another."""
        session = self._sessions.get(_digest(token))
        if session is None:
            return None
        if time.monotonic() >= session.ends_s:
            self.close(token)
            return None
        return session if self._users.find(session.user.name) == session.user else None

    def use(self, token: str) -> None:
        """Looking at the page is no use of a session, changing something is."""
        key = _digest(token)
        if key in self._sessions:
            self._sessions[key].used_s = time.monotonic()
            self._sessions.move_to_end(key)

    def close(self, token: str) -> None:
        self._sessions.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    """What is looked up by a digest cannot be guessed a character at a time."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
