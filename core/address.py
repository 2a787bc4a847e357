"""Where a daemon listens or calls: `host:port`."""

import ipaddress
from dataclasses import dataclass
from typing import Final

_NEARBY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


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

    @property
    def nearby(self) -> "Address":
        """Where this machine itself calls what listens here: the address that stands for all of them is none to call."""
        return Address(_NEARBY.get(self.host, self.host), self.port)


def parse_address(text: str) -> Address:
    """From `host:port` or `[v6]:port`; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host:
        raise ValueError(f"{text!r} is not host:port")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"port {port!r} of {text!r} is not 0 to 65535")
    return Address(host, int(port))
