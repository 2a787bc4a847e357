"""A client's way to the controller."""

from collections.abc import Sequence
from pathlib import Path

import grpc

from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError
from gpuwarden.core.tls import read_tls


def open_channel(controller: Address, tls_dir: Path | None, options: Sequence[tuple[str, object]] = ()) -> grpc.Channel:
    """Both sides show a certificate if there is `tls_dir`. ConfigError if its files are not sound, or without it beyond loopback."""
    if tls_dir is not None:
        pem = read_tls(tls_dir)
        credentials = grpc.ssl_channel_credentials(pem.ca, pem.key, pem.certificate)
        return grpc.secure_channel(str(controller), credentials, tuple(options))
    if not controller.loopback:
        raise ConfigError(f"{controller} is beyond loopback: without certificates nobody talks to it")
    return grpc.insecure_channel(str(controller), tuple(options))
