"""Reads one BMC over Redfish (DMTF DSP0266): JSON objects over one kept-alive connection, and nothing taken on trust.

Every call has a deadline that also holds against an answer that drips in, an answer is bounded, and no redirect is followed. Basic
authentication, because a session takes one of the few that a BMC has, and is left behind by an agent that is killed.
"""

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

MAX_ANSWER_BYTES: Final = 1 << 20  # the largest of a real BMC, a Thermal page, has some 100 kB
_PATH: Final = re.compile(r"/redfish/[!-~]{0,500}")  # it goes into a request line and into logs
_STALE: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # what a connection that the BMC has closed says

Json = Mapping[str, Any]


class RedfishFailed(Exception):
    """The BMC cannot be read now. The text says where and why."""


class LoginRefused(RedfishFailed):
    """User or password is wrong: whoever asks often gets the account locked."""


class NotTold(RedfishFailed):
    """This one resource cannot be read; others may."""


class _Connection(http.client.HTTPConnection):
    """Its socket is known before the TLS handshake begins, so that a deadline ends that too."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(None)  # from here on the deadline cuts
        if self._tls is not None:
            wrapped = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = wrapped
            wrapped.do_handshake()


class Redfish:
    """One thread at a time may call. `tls` is for an https `url`, which has a host and perhaps a port."""

    def __init__(self, url: str, user: str, password: str, tls: ssl.SSLContext, call_s: float) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._connection = _Connection(parts.hostname or "", parts.port or (443 if secure else 80), tls if secure else None)
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Accept": "application/json", "OData-Version": "4.0", "Authorization": f"Basic {login}"}
        self._call_s = call_s
        self._cut = self._stopped = False

    def get(self, path: str, until_s: float) -> Json:
        """The resource's JSON object, by `until_s` of the monotonic clock or RedfishFailed."""
        if not _PATH.fullmatch(path):
            raise NotTold(f"{path[:80]!r} is not a path of Redfish")
        left_s = until_s - time.monotonic()
        late = f"no answer within {self._call_s:g} s" if self._call_s <= left_s else "the reading as a whole took too long"
        if left_s <= 0.0 or self._stopped:
            self._connection.close()
            raise RedfishFailed(f"{path}: {late}")
        try:
            with self._deadline(min(self._call_s, left_s)):
                status, body = self._exchange(path)
        except (OSError, http.client.HTTPException) as why:
            self._connection.close()
            raise RedfishFailed(f"{path}: {late if self._cut or isinstance(why, TimeoutError) else _said(why)}") from None
        return _object(path, status, body)

    def stop(self) -> None:
        """A call that is under way fails, and every later one. Any thread may call it."""
        self._stopped = True
        self._cut_off()

    def close(self) -> None:
        """When no call is under way."""
        self._connection.close()

    @contextmanager
    def _deadline(self, left_s: float) -> Iterator[None]:
        """A socket's own timeout, used for the connection only, begins anew with every byte; this does not."""
        self._cut, self._connection.timeout = False, left_s
        timer = threading.Timer(left_s, self._cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut_off(self) -> None:
        self._cut = True
        if (sock := self._connection.sock) is not None:
            with suppress(OSError):  # it is not connected
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own takes its TLS away under the reader

    def _exchange(self, path: str) -> tuple[int, bytes]:
        """A BMC closes a connection that was idle: then the call is made again, once."""
        reused = self._connection.sock is not None
        try:
            return self._ask(path)
        except _STALE:
            if not reused or self._cut:
                raise
        self._connection.close()
        return self._ask(path)

    def _ask(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path, headers=self._headers)
        with self._connection.getresponse() as response:
            body = response.read(MAX_ANSWER_BYTES + 1)
            if self._cut:
                raise TimeoutError
            if len(body) > MAX_ANSWER_BYTES:
                self._connection.close()  # the rest is not wanted
            return response.status, body


def _said(why: OSError | http.client.HTTPException) -> str:
    match why:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {why.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {why.reason}"
        case OSError() if why.strerror:
            return why.strerror
        case _:
            return f"not HTTP: {type(why).__name__}"


def _object(path: str, status: int, body: bytes) -> Json:
    if status == HTTPStatus.UNAUTHORIZED:
        raise LoginRefused(f"{path}: 401, user or password is refused")
    if status != HTTPStatus.OK:
        raise NotTold(f"{path}: answered {status}")
    if len(body) > MAX_ANSWER_BYTES:
        raise NotTold(f"{path}: has more than {MAX_ANSWER_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NotTold(f"{path}: is not JSON") from None
    if not isinstance(document, dict):
        raise NotTold(f"{path}: is not a JSON object")
    return document
