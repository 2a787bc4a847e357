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
        "ssl_context": _tls(config) if config.security_protocol.endswith("SSL") else None,
        **(_credentials(config) if config.security_protocol.startswith("SASL_") else {}),
    }


class _Tls(ssl.SSLContext):
    """Every connection begins with what the files hold at that moment; where they cannot be used, with what they held before."""

    files: BusConfig

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        try:
            _load(self, self.files)
        except BusError as why:
            _log.error("%s; the certificate from before stays in use", why)
        return super().wrap_socket(*args, **kwargs)


def _tls(config: BusConfig) -> ssl.SSLContext:
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    context.files = config
    if config.ssl_ca_file is None:
        context.load_default_certs()
    _load(context, config)
    return context


def _load(context: ssl.SSLContext, config: BusConfig) -> None:
    """An authority that has once been trusted stays so until the daemon starts again: a context forgets none."""
    try:
        if config.ssl_key_file is not None:
            check_private(config.ssl_key_file)
        if config.ssl_ca_file is not None:
            context.load_verify_locations(config.ssl_ca_file)
        if config.ssl_certificate_file is not None:
            context.load_cert_chain(config.ssl_certificate_file, config.ssl_key_file)
    except ConfigError as why:
        raise BusError(f"ssl_key_file: {why}") from why
    except OSError as why:
        files = filter(None, (config.ssl_ca_file, config.ssl_certificate_file, config.ssl_key_file))
        raise BusError(f"{', '.join(map(str, files))}: {why}") from why


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
