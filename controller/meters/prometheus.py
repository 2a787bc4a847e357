"""An exporter's page that is scraped: of a PDU by SNMP, of a busway's meter, of anything.

The page, and not a query at a Prometheus server: it tells of now and not of the last scrape, nothing stands between, and an instant query
hides for five minutes that its exporter is dead. A server's `/federate?match[]=...` is such a page too, whose samples carry their times.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gpuwarden.controller.meters.device import CALL_S, Device, Lacks, Told, trusted
from gpuwarden.controller.power.meter_config import SERIES, MeterConfig
from gpuwarden.core.calls import CallFailed, Calls

MOST_BYTES: Final = 8 << 20  # a PDU's page has some 100 kB
_LABEL: Final = re.compile(r'(\w+)\s*=\s*"([^"]*)"')


def open(meter: MeterConfig) -> Device:
    """ConfigError if a file cannot be used."""
    url = urlsplit(meter.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Page(Calls(meter.url, {"Accept": "text/plain"}, trusted(meter), CALL_S, MOST_BYTES), path)


class Page:
    """One address. Fetched once for all its meters."""

    def __init__(self, calls: Calls, path: str) -> None:
        self._calls, self._path = calls, path

    def read(self, meters: Iterable[MeterConfig], until_s: float) -> Iterator[Told | Lacks]:
        try:
            page = self._page(until_s)
        except (CallFailed, ValueError) as why:
            yield from (Lacks(f"{self._path}: {why}") for _ in meters)
            return
        told_s, unix_s = time.monotonic(), time.time()
        for meter in meters:
            yield summed(meter, page, told_s, unix_s)

    def _page(self, until_s: float) -> str:
        """CallFailed without an answer, ValueError if it is no such page."""
        status, body = self._calls.call("GET", self._path, until_s)
        if status != HTTPStatus.OK:
            raise ValueError(f"answered {status}")
        if len(body) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES} bytes")
        return body.decode()

    def stop(self) -> None:
        self._calls.stop()

    def close(self) -> None:
        self._calls.close()


def summed(meter: MeterConfig, page: str, told_s: float, unix_s: float) -> Told | Lacks:
    """The series that the meter names, added up; it is as old as the oldest of them. `told_s`, `unix_s`: now, by both clocks."""
    name, labels = series(meter.series)
    try:
        found = [one for one in _samples(name, page) if labels.items() <= one.labels.items()]
    except (ValueError, IndexError):  # what the parser says to what it cannot read
        return Lacks(f"{meter.series}: its line cannot be read")
    if not found:
        return Lacks(f"{meter.series}: there is no such series")
    ages_s = [max(0.0, unix_s - float(one.timestamp)) for one in found if one.timestamp is not None]
    return Told(sum(one.value for one in found), told_s - max(ages_s, default=0.0))


def _samples(name: str, page: str) -> Iterator[Sample]:
    """Of this metric. Other lines are not looked at: they may be as they like."""
    for line in page.splitlines():
        if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " ", "\t"):
            yield from (sample for family in text_string_to_metric_families(line) for sample in family.samples)


def series(selector: str) -> tuple[str, Mapping[str, str]]:
    """(name, labels) of `name{label="value"}`, which the configuration has checked."""
    match = SERIES.fullmatch(selector)
    assert match is not None, selector
    return match["name"], dict(_LABEL.findall(match["labels"] or ""))
