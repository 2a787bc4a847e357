"""HTTP calls to one device that is not to be trusted with our time: over one kept-alive connection, with a deadline and a bound on every answer.

The deadline also holds against an answer that drips in. No redirect is followed. Only a GET is ever made twice.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_STALE: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # what a connection that the device has closed says


class CallFailed(Exception):
    """There is no answer. The text says why."""


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


class Calls:
    """One thread at a time may call. `tls` is for an https `url`, of which scheme, host and port are used. `most_bytes` of an answer are taken in."""

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext, call_s: float, most_bytes: int) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._connection = _Connection(parts.hostname or "", parts.port or (443 if secure else 80), tls if secure else None)
        self._headers, self._call_s, self._most_bytes = dict(headers), call_s, most_bytes
        self._cut = self._stopped = False

    def call(
        self, method: str, path: str, until_s: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """(status, body) by `until_s` of the monotonic clock, or CallFailed. One byte more than may be tells that there is more."""
        left_s = until_s - time.monotonic()
        late = f"no answer within {self._call_s:g} s" if self._call_s <= left_s else "the reading as a whole took too long"
        if left_s <= 0.0 or self._stopped:
            self._connection.close()
            raise CallFailed(late)
        if method != "GET":
            self._connection.close()  # one that the device has just closed would leave us in doubt whether it has heard
        try:
            with self._deadline(min(self._call_s, left_s)):
                return self._exchange(method, path, body, {**self._headers, **(headers or {})})
        except (OSError, http.client.HTTPException) as why:
            self._connection.close()
            raise CallFailed(late if self._cut or isinstance(why, TimeoutError) else _said(why)) from None

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

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """A device closes a connection that was idle: then the call is made again, once."""
        reused = self._connection.sock is not None
        try:
            return self._ask(method, path, body, headers)
        except _STALE:
            if not reused or self._cut:
                raise
        self._connection.close()
        return self._ask(method, path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        with self._connection.getresponse() as response:
            answer = response.read(self._most_bytes + 1)
            if self._cut:
                raise TimeoutError
            if len(answer) > self._most_bytes:
                self._connection.close()  # the rest is not wanted
            return response.status, answer


def trust(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """Whom to believe; OSError if `ca_file` cannot be read or holds no certificate."""
    tls = ssl.create_default_context(cafile=ca_file)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's default; what devices make for themselves seldom keeps all of RFC 5280
    if not verify:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


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
