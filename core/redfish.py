"""Speaks with one service over Redfish (DMTF DSP0266), a BMC's or a PDU's: JSON objects, and nothing taken on trust.

Basic authentication, because a session takes one of the few that a BMC has, and is left behind by a process that is killed.
"""

import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from gpuwarden.core.calls import CallFailed, Calls

MAX_ANSWER_BYTES: Final = 1 << 20  # the largest of a real BMC, a Thermal page, has some 100 kB
HIGHEST: Final = 1e6  # no supply, fan or thermometer of a node reads more
_PATH: Final = re.compile(r"/redfish/[!-~]{0,500}")  # it goes into a request line and into logs

Json = Mapping[str, Any]


class RedfishFailed(Exception):
    """The service cannot be read now. The text says where and why."""


class LoginRefused(RedfishFailed):
    """User or password is wrong: whoever asks often gets the account locked."""


class NotTold(RedfishFailed):
    """This one resource cannot be read; others may."""


@dataclass(frozen=True, slots=True)
class Found:
    """A reading of one supply, fan or sensor, or why it has none."""

    value: float | None
    why: str = ""


class Redfish:
    """One thread at a time may call. `tls` is for an https `url`, which has a host and perhaps a port."""

    def __init__(self, url: str, user: str, password: str, tls: ssl.SSLContext, call_s: float) -> None:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Accept": "application/json", "OData-Version": "4.0", "Authorization": f"Basic {login}"}
        self._calls = Calls(url, headers, tls, call_s, MAX_ANSWER_BYTES)

    def get(self, path: str, until_s: float) -> Json:
        """The resource's JSON object, by `until_s` of the monotonic clock or RedfishFailed."""
        return _object(path, *self._call("GET", path, until_s))

    def change(self, method: str, path: str, wish: Json, until_s: float, etag: str = "") -> None:
        """PATCH or POST, sent once. RedfishFailed if it was refused, or if nobody knows what came of it. `etag`: of the resource as it was read."""
        headers = {"Content-Type": "application/json", **({"If-Match": etag} if etag else {})}
        status, _ = self._call(method, path, until_s, json.dumps(wish).encode(), headers)
        if status == HTTPStatus.UNAUTHORIZED:
            raise LoginRefused(f"{path}: 401, user or password is refused")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotTold(f"{method} {path}: answered {status}")

    def _call(
        self, method: str, path: str, until_s: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        if not _PATH.fullmatch(path):
            raise NotTold(f"{path[:80]!r} is not a path of Redfish")
        try:
            return self._calls.call(method, path, until_s, body, headers)
        except CallFailed as why:
            raise RedfishFailed(f"{path}: {why}") from None

    def stop(self) -> None:
        """A call that is under way fails, and every later one. Any thread may call it."""
        self._calls.stop()

    def close(self) -> None:
        """When no call is under way."""
        self._calls.close()


def number(where: str, document: Json, *keys: str, highest: float = HIGHEST) -> Found:
    """The number that the keys lead to."""
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return Found(None, f"{where}: {'.'.join(keys)} is null or absent")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= highest:
        return Found(None, f"{where}: {'.'.join(keys)} is {str(value)[:40]!r}, no number that it can be")
    return Found(float(value))


def linked(document: Json, name: str) -> str:
    """Where the document's link of this name leads, '' where it has none."""
    return target(document.get(name))


def target(link: Any) -> str:
    """Where a link leads, '' where it is none."""
    to = link.get("@odata.id") if isinstance(link, Mapping) else None
    return to if isinstance(to, str) else ""


def _object(path: str, status: int, body: bytes) -> Json:
    if status == HTTPStatus.UNAUTHORIZED:
        raise LoginRefused(f"{path}: 401, user or password is refused")
    if status != HTTPStatus.OK:
        raise NotTold(f"{path}: answered {status}")
    if len(body) > MAX_ANSWER_BYTES:
        raise NotTold(f"{path}: has more than {MAX_ANSWER_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NotTold(f"{path}: is not JSON") from None
    if not isinstance(document, dict):
        raise NotTold(f"{path}: is not a JSON object")
    return document
