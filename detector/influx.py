"""Reaching an InfluxDB, and saying in one sentence why it cannot be reached: which setting, and what to do."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private
from gpuwarden.detector.history_config import InfluxConfig

MOST_CHARS: Final = 200  # of what a server says
NOT_ITS_BUCKET: Final = (401, 403)
TOO_LARGE: Final = 413
DROPPED: Final = 422  # some points, for good; the others of the request are written
BUSY: Final = (408, 429, *range(500, 600))


class InfluxError(Exception):
    """What was asked is not done: the setting that it hangs on, and what to do. `status` is HTTP's, 0 without an answer."""

    def __init__(self, told: str, status: int = 0) -> None:
        super().__init__(told)
        self.status = status


@contextmanager
def calling(config: InfluxConfig, timeout_s: float) -> Iterator[InfluxDBClient]:
    """A client for some calls; whatever fails within it raises InfluxError. The token is read anew each time."""
    try:
        token = read_private(config.token_file) if config.token_file is not None else ""
    except ConfigError as why:
        raise InfluxError(f"influx.token_file: {why}") from None
    ca_file = str(config.ssl_ca_file) if config.ssl_ca_file is not None else None
    client = InfluxDBClient(config.url, token, org=config.org, timeout=round(1000 * timeout_s), retries=False, ssl_ca_cert=ca_file)
    try:
        with closing(client):
            yield client
    except ApiException as why:
        raise InfluxError(_answered(config, why.status, _reason(why)), why.status) from why
    except HTTPError as why:
        raise InfluxError(f"influx.url: {config.url} does not answer: {_short(str(why))}; start it, or correct the address") from why


def _answered(config: InfluxConfig, status: int, reason: str) -> str:
    place = f"bucket {config.bucket!r} of organisation {config.org!r}"
    if not status:  # the library's word for a handshake that failed
        trusted = config.ssl_ca_file or "the system's file"
        return f"influx.ssl_ca_file: {config.url} is not trusted with {trusted}: {reason}; name the file of who signs it, or correct influx.url"
    if status in NOT_ITS_BUCKET and config.token_file is None:
        return f"influx.token_file: is not there, and {config.url} wants a token: {reason}; put one into a file for {place}, and name the file"
    if status in NOT_ITS_BUCKET:
        return f"influx.token_file: {config.url} refuses the token in {config.token_file}: {reason}; put one there that is for {place}"
    if status == 404:
        return f"influx.bucket: {config.url} has no {place}: {reason}; make it there, or correct influx.bucket and influx.org"
    if status == DROPPED:
        return f"influx.bucket: {config.url} does not take them for {place}: {reason}"
    if status in BUSY:
        return f"influx.url: {config.url} cannot do it now: {status} {reason}"
    return f"influx.url: {config.url} answers {status} {reason}; is it an InfluxDB 2, or what takes its writes?"


def _reason(why: ApiException) -> str:
    body = why.body.decode(errors="replace") if isinstance(why.body, bytes) else str(why.body or "")
    try:
        told = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        told = body or why.reason
    return _short(str(told))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARS else f"{line[:MOST_CHARS]}..."
