"""Where the brokers are, and how a client shows who it is and checks who they are."""

import ssl
from pathlib import Path
from typing import Any

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.config import KEY_FILE_MODE


def access(config: BusConfig) -> dict[str, Any]:
    """The settings that every client needs, in kafka-python's words; BusError if a file cannot be used."""
    return {
        "bootstrap_servers": list(config.bootstrap),
        "security_protocol": config.security_protocol,
        "ssl_context": _tls(config) if config.security_protocol.endswith("SSL") else None,
        **(_credentials(config) if config.security_protocol.startswith("SASL_") else {}),
    }


def _tls(config: BusConfig) -> ssl.SSLContext:
    if config.ssl_key_file is not None:
        _check_mode("ssl_key_file", config.ssl_key_file)
    try:
        context = ssl.create_default_context(cafile=config.ssl_ca_file)
        if config.ssl_certificate_file is not None:
            context.load_cert_chain(config.ssl_certificate_file, config.ssl_key_file)
    except OSError as why:
        files = filter(None, (config.ssl_ca_file, config.ssl_certificate_file, config.ssl_key_file))
        raise BusError(f"{', '.join(map(str, files))}: {why}") from why
    return context


def _credentials(config: BusConfig) -> dict[str, Any]:
    assert config.sasl_password_file is not None, "BusConfig.problems() has seen to it"
    try:
        password = config.sasl_password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as why:
        raise BusError(f"sasl_password_file: {why}") from why
    _check_mode("sasl_password_file", config.sasl_password_file)
    return {
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": password,
    }


def _check_mode(key: str, path: Path) -> None:
    """A file that is not there is told of by who reads it."""
    if path.exists() and path.stat().st_mode & KEY_FILE_MODE:
        raise BusError(f"{key}: others may read {path}; chmod 600 {path}")
