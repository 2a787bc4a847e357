"""Where a daemon listens or calls: `host:port`."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Only a literal loopback address or `localhost`: a name could come to mean another host tomorrow."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """From `host:port` or `[v6]:port`; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host:
        raise ValueError(f"{text!r} is not host:port")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"port {port!r} of {text!r} is not 0 to 65535")
    return Address(host, int(port))
