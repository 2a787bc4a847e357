"""Where the brokers are, and how a client shows who it is and checks who they are."""

import logging
import ssl
from typing import Any

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import check_private, read_private

_log = logging.getLogger("gpuwarden.bus")


def access(config: BusConfig) -> dict[str, Any]:
    """The settings that every client needs, in kafka-python's words; BusError if a file cannot be used."""
    return {
        "bootstrap_servers": list(config.bootstrap),
        "security_protocol": config.security_protocol,
        "ssl_context": Renewed(config) if config.security_protocol.endswith("SSL") else None,
        **(_credentials(config) if config.security_protocol.startswith("SASL_") else {}),
    }


class Renewed:
    """Stands where kafka-python takes a context: every connection begins with what the files hold at that moment."""

    def __init__(self, config: BusConfig) -> None:
        """BusError if a file cannot be used."""
        self._config, self._context = config, _context(config)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        try:
            self._context = _context(self._config)  # a new one, since a context that took half of a renewal keeps it
        except BusError as why:
            _log.error("%s; the certificate from before stays in use", why)
        return self._context.wrap_socket(*args, **kwargs)


def _context(config: BusConfig) -> ssl.SSLContext:
    try:
        if config.ssl_key_file is not None:
            check_private(config.ssl_key_file)
        context = ssl.create_default_context(cafile=config.ssl_ca_file)
        if config.ssl_certificate_file is not None:
            context.load_cert_chain(config.ssl_certificate_file, config.ssl_key_file)
    except ConfigError as why:
        raise BusError(f"ssl_key_file: {why}") from why
    except OSError as why:
        files = filter(None, (config.ssl_ca_file, config.ssl_certificate_file, config.ssl_key_file))
        raise BusError(f"{', '.join(map(str, files))}: {why}") from why
    return context


def _credentials(config: BusConfig) -> dict[str, Any]:
    assert config.sasl_password_file is not None, "BusConfig.problems() has seen to it"
    try:
        password = read_private(config.sasl_password_file)
    except ConfigError as why:
        raise BusError(f"sasl_password_file: {why}") from why
    return {
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": password,
    }
