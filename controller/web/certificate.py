"""The page's certificate. A renewed one is taken up without a restart, for connections from then on."""

import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from gpuwarden.controller.web.version import Version, version_of
from gpuwarden.core.config import ConfigError, option
from gpuwarden.core.private import check_private

LOOK_S: Final = 5.0

_log = logging.getLogger("gpuwarden.controller")


@dataclass(frozen=True, slots=True)
class WebTls:
    """What the page proves itself with."""

    cert_file: Path = option("PEM file of the page's certificate, with the chain up to the authority that browsers know")
    key_file: Path = option("PEM file of its key, without a password; only its owner may read it")

    def files(self) -> Iterator[Path]:
        yield self.cert_file
        yield self.key_file


class Certificate:
    """`context` is good for as long as the server runs; what it shows is what was last good in the files."""

    def __init__(self, tls: WebTls) -> None:
        """ConfigError if the files are absent, open to others, or do not belong together."""
        self._tls = tls
        self._versions = self._on_disk()
        self.context = _loaded(tls)

    async def follow(self, closing: anyio.Event) -> None:
        while not closing.is_set():
            with anyio.move_on_after(LOOK_S):
                await closing.wait()
            self.look()

    def look(self) -> None:
        """Tried on a context of its own first: half a renewal must not spoil the one in use."""
        versions = self._on_disk()
        if versions == self._versions:
            return
        self._versions = versions
        try:
            _loaded(self._tls)
            self.context.load_cert_chain(self._tls.cert_file, self._tls.key_file, _no_password)
            _log.info("web_tls: the renewed certificate is in use")
        except (ConfigError, OSError) as why:
            _log.error("web_tls: the changed certificate is not taken up: %s", why)

    def _on_disk(self) -> list[Version | None]:
        return [_version(path) for path in self._tls.files()]


def _version(path: Path) -> Version | None:
    try:
        return version_of(path)
    except OSError:
        return None


def _loaded(tls: WebTls) -> ssl.SSLContext:
    check_private(tls.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, _no_password)
    except ssl.SSLError as why:
        raise ConfigError(f"web_tls: {tls.cert_file} and {tls.key_file}: {why.reason or why}") from None
    except OSError as why:
        raise ConfigError(f"web_tls: {tls.cert_file}: {why.strerror}") from None
    return context


def _no_password() -> str:
    """Without it OpenSSL would ask at the terminal."""
    return ""
