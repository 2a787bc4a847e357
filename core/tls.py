"""Mutual TLS from a folder: `ca.crt` (who signs the other side), `tls.crt` and `tls.key` (who we are), the names that Kubernetes gives them."""

import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import check_private

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
LOOK_S: Final = 1.0  # the folder is looked at this often at most

_log = logging.getLogger("gpuwarden.tls")


@dataclass(frozen=True, slots=True)
class Pem:
    """The contents of the three files, which fit each other."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def read_tls(folder: Path) -> Pem:
    """ConfigError names the file and what is wrong with it."""
    parts = {name: _read(folder / name) for name in (CA, CERTIFICATE, KEY)}
    check_private(folder / KEY)
    _context(folder)
    return Pem(parts[CA], parts[CERTIFICATE], parts[KEY])


class Rotating:
    """The newest sound contents of a folder, for any thread. Files that do not fit are passed over, and said once."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """ConfigError if the folder is not sound to begin with."""
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()  # guards what follows
        self._newest = read_tls(folder)
        self._looked_s = clock()
        self._wrong = ""

    def newest(self) -> Pem:
        with self._lock:
            if self._clock() - self._looked_s >= LOOK_S:
                self._looked_s = self._clock()
                self._look()
            return self._newest

    def _look(self) -> None:
        try:
            found = read_tls(self._folder)
        except ConfigError as why:
            if str(why) != self._wrong:
                _log.error("%s; the certificate from before stays in use", why)
            self._wrong = str(why)
            return
        if found != self._newest:
            _log.info("%s: a new certificate is in use", self._folder)
        self._newest, self._wrong = found, ""


class ServerContext:
    """What a server of Python's own shakes hands with, newest first; who calls shows a certificate. For one thread."""

    def __init__(self, folder: Path) -> None:
        """ConfigError if the folder is not sound to begin with."""
        self._folder, self._rotating = folder, Rotating(folder)
        self._pem, self._context = self._rotating.newest(), _context(folder)

    def newest(self) -> ssl.SSLContext:
        """A context of its own for every renewal: one in use forgets no authority that it has once trusted."""
        pem = self._rotating.newest()
        if pem != self._pem:
            with contextlib.suppress(ConfigError):  # changed again meanwhile: the next look finds it sound, or says so
                self._context, self._pem = _context(self._folder), pem
        return self._context


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=_read(folder / CA).decode("ascii"))
    except (ssl.SSLError, ValueError) as why:
        raise ConfigError(f"{folder / CA}: holds no certificate: {why}") from None
    try:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=_no_password)
    except (OSError, ValueError) as why:  # ssl.SSLError is one
        raise ConfigError(f"{folder / CERTIFICATE}, {KEY}: are no certificate with its key: {why}") from None
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None


def _no_password() -> str:
    """Instead of a prompt: a daemon has nobody to ask."""
    raise ValueError("the key has a password")
