"""Where history is: the brokers that telemetry comes through, and an InfluxDB that it goes to, or is read from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import option

_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class InfluxConfig:
    """InfluxDB 2, or what takes its writes, as VictoriaMetrics does."""

    url: str = option("address of the server, as http://127.0.0.1:8086 or https://influx:8086")
    bucket: str = option("bucket that history goes to; it must be there")
    org: str = option("organisation of the bucket; VictoriaMetrics has none", default="")
    token_file: Path | None = option(
        "file with the token and nothing else, readable by its owner only; read anew when the server refuses it; without it none is sent", default=None
    )
    ssl_ca_file: Path | None = option("PEM file of who signs the server; without it the system's", default=None)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.bucket:
            yield "bucket: is empty"
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port or 80
        except ValueError as why:
            yield f"url: is {self.url!r}: {why}"
            return
        if parts.scheme not in _SCHEMES or not host or parts.query or parts.fragment or "@" in parts.netloc:
            yield f"url: is {self.url!r}, should be http:// or https://, a host and a port"
        elif parts.scheme == "http" and self.token_file is not None and not Address(host, port).loopback:
            yield f"url: is {self.url!r}, which sends the token in clear; should be https://, or a loopback address"
        if parts.scheme == "http" and self.ssl_ca_file is not None:
            yield "ssl_ca_file: is of no use with http://"


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """The file that `record --config` is given."""

    bus: BusConfig = option("where telemetry comes from")
    influx: InfluxConfig | None = option("where it goes to; without it to files, `record --out`", default=None)
