"""A limit's meter as the operator writes it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gpuwarden.core.address import Address
from gpuwarden.core.config import option

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "grpc": (),
    "prometheus": ("url", "series"),
    "redfish": ("url", "resource", "user", "password_file"),
}
"""The keys that each kind must have. A key that some kind needs belongs to no other."""

SERIES: Final = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>\s*\w+\s*=\s*"[^"\\]*"\s*(?:,\s*\w+\s*=\s*"[^"\\]*"\s*)*)\})?')
"""A metric's name and labels that its series must have; values without escapes."""


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Where the power that goes through a limit is read."""

    kind: str = option("redfish (a PDU or BMC is asked), prometheus (an exporter's page is scraped) or grpc (somebody calls ReportMeter)")
    url: str = option("redfish: https://host[:port] of the PDU or BMC; prometheus: the page, http or https", default="")
    resource: str = option("redfish: path of a Sensor, PowerDistribution, Circuit, Outlet, EnvironmentMetrics, Chassis or Power", default="")
    series: str = option('prometheus: the metric, as name or name{label="value"}; all its series that have the labels are added up', default="")
    scale: float = option("watts for one unit of the reading: 1000 where it is in kW", default=1.0)
    user: str = option("redfish: an account that may read; one device has one account for all its meters", default="")
    password_file: Path | None = option("redfish: file with the password and nothing else, for its owner only", default=None)
    ca_file: Path | None = option("certificates (PEM) that vouch for the device's; none: the system's", default=None)
    verify: bool = option("false: the password goes to whoever answers at the address", default=True)
    period_s: float = option("from one reading to the next", default=2.0)
    window_s: float = option("how long before it is read a reading may tell of: the meter's own delay and averaging", default=5.0)
    stale_s: float = option("without a reading for so long the meter is silent: what it last showed stays taken, people are told", default=30.0)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        if self.kind not in NEEDS:
            yield f"kind: is {self.kind!r}, should be {', '.join(NEEDS)}"
            return
        yield from self._key_problems()
        if self.url:
            yield from self._url_problems()
        for key, seconds, least_s, most_s in (
            ("period_s", self.period_s, 0.5, 60.0), ("window_s", self.window_s, 0.0, 60.0), ("stale_s", self.stale_s, 2 * self.period_s, 600.0),
        ):
            if not least_s <= seconds <= most_s:
                yield f"{key}: is {seconds:g}, should be {least_s:g} to {most_s:g}"
        if not self.scale > 0:
            yield f"scale: is {self.scale:g}, should be above 0"
        if self.ca_file is not None and not self.verify:
            yield "ca_file: is of no use with verify = false"

    def _key_problems(self) -> Iterator[str]:
        needs = NEEDS[self.kind]
        for key in dict.fromkeys(key for keys in NEEDS.values() for key in keys):
            if key in needs and not getattr(self, key):
                yield f"{key}: is missing; a meter of kind {self.kind} needs it"
            elif key not in needs and getattr(self, key):
                yield f"{key}: is not for a meter of kind {self.kind}"
        if self.series and not SERIES.fullmatch(self.series):
            yield f"series: is {self.series!r}, should be like name or name{{label=\"value\", other=\"value\"}}"
        if self.resource and not self.resource.startswith("/redfish/"):
            yield f"resource: is {self.resource!r}, should begin with /redfish/"
        if ":" in self.user:
            yield f"user: is {self.user!r}, should be a name without a colon"

    def _url_problems(self) -> Iterator[str]:
        try:
            url = urlsplit(self.url)
            host, port = url.hostname or "", url.port
        except ValueError as why:
            yield f"url: {why}"
            return
        if url.username is not None or url.password is not None:
            yield "url: holds a user or password; it is shown in logs"
        elif url.scheme not in ("http", "https") or not host:
            yield f"url: is {self.url!r}, should be https://host or http://host"
        elif self.kind == "redfish" and (url.path not in ("", "/") or url.query or url.fragment):
            yield f"url: is {self.url!r}, should be https://host or https://host:port; the path belongs into resource"
        elif self.kind == "redfish" and url.scheme == "http" and not Address(host, port or 80).loopback:
            yield f"url: is {self.url!r}, should be https: the password would be there for all to read"
