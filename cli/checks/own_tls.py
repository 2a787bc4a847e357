"""How a check calls a daemon of this machine by TLS: it shows the daemon's own certificate, and takes none of another authority.

By which names others call the daemon is not known here, so that the name in its certificate is not held against where it listens.
"""

import socket
import ssl
from pathlib import Path
from typing import Any

from gpuwarden.core.address import Address
from gpuwarden.core.tls import CA, CERTIFICATE, KEY, read_tls


def context_of(folder: Path) -> ssl.SSLContext:
    """ConfigError if the folder's files are not sound."""
    read_tls(folder)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(folder / CA)
    made.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return made


def name_shown(address: Address, folder: Path, patience_s: float) -> str:
    """The first name or address in the certificate that is shown at `address`, '' where none is. ConfigError as above."""
    context = context_of(folder)
    try:
        with socket.create_connection((address.host, address.port), patience_s) as plain, context.wrap_socket(plain) as wrapped:
            shown: Any = wrapped.getpeercert()
    except OSError:  # SSLError is one; who calls next is told the reason
        return ""
    return next((name for kind, name in shown.get("subjectAltName", ()) if kind in ("DNS", "IP Address")), "")
