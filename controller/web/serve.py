"""The page's server in a thread of its own: the controller's loop does not wait for it."""

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web.answer import Answers
from gpuwarden.controller.web.app import create_app
from gpuwarden.controller.web.asking import Ask
from gpuwarden.controller.web.certificate import Certificate, WebTls
from gpuwarden.controller.web.change import Changes
from gpuwarden.controller.web.feed import Feed
from gpuwarden.controller.web.login import Login
from gpuwarden.controller.web.patience import Prompt
from gpuwarden.controller.web.users import Users
from gpuwarden.core.address import Address

_START_S: Final = 10.0
_STOP_S: Final = 5.0
# A viewer that takes nothing for so long has gone without saying so; the kernel ends its connection.
STUCK_S: Final = 10.0
# Seats for viewers' streams and for what else they fetch, half of them for connections that ask for nothing yet; more are answered 503.
_CONNECTIONS: Final = 128


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in, and how. Without a users file everybody may look and nobody may change anything."""

    users_file: Path | None = None
    tls: WebTls | None = None
    hosts: tuple[str, ...] = ()


class _Server(uvicorn.Server):
    """Tells when it listens, and tells the streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.closing.set()
        await super().shutdown(sockets)


class Page:
    """Shows a board's newest snapshot to whoever opens `url`."""

    def __init__(self, listen: Address, board: Board, door: Door | None = None, ask: Ask | None = None) -> None:
        """Port 0 takes a free one; `ask` the ways to the machines. OSError if the address cannot be had, ConfigError
        if the door's files are no good."""
        door = door or Door()
        users = Users(door.users_file) if door.users_file else None
        certificate = Certificate(door.tls) if door.tls else None
        self._scheme = "https" if certificate else "http"
        self._listener = _listen(listen)
        self.address = Address(listen.host, self._listener.getsockname()[1])
        feed, login = Feed(board), Login(users, needed_to_read=not listen.loopback)
        changes = [*Changes(login, ask).routes(), *Answers(login, ask).routes()] if users and ask else []
        config = uvicorn.Config(
            create_app(feed, login, changes, certificate, (listen.host, *door.hosts)),
            log_config=None, access_log=False, timeout_graceful_shutdown=1, server_header=False,
            limit_concurrency=_CONNECTIONS, proxy_headers=False, http=Prompt,
        )  # fmt: skip
        config.load()
        config.ssl = certificate.context if certificate else None  # its own options know no context that can be renewed
        self._server = _Server(config, feed)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="page", daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.address}/"

    def start(self) -> None:
        """Answers when it returns; OSError if it does not come to that."""
        self._thread.start()
        if not self._server.listening.wait(_START_S):
            raise OSError(f"the page's server did not start on {self.address} within {_START_S:.0f} s")

    def close(self) -> None:
        """Ends the streams, then the server; within a second unless a viewer is in the middle of a download."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
        self._listener.close()


def _listen(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.create_server((listen.host, listen.port), family=family, backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_S * 1000))  # connections inherit it
    return listener
