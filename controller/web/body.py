"""What a page may post: one small JSON object with exactly these fields."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import anyio
from starlette.requests import ClientDisconnect, Request

from gpuwarden.controller.web.refusal import Rejected
from gpuwarden.controller.web.users import MAX_TEXT_CHARS

MAX_BODY_BYTES: Final = 4096
WITHIN_S: Final = 10.0
_WORDS: Final = {str: "text", bool: "true or false", float: "a number"}


async def read_fields(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """Every field, as str, bool or float; Rejected names what is wrong with which."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Rejected(415, "NOT_JSON", "content-type: should be application/json")
    given = _parsed(await _body(request))
    if not isinstance(given, dict):
        raise Rejected(400, "NOT_JSON", "the body should be a JSON object")
    for name in given.keys() - fields.keys():
        raise Rejected(400, "UNKNOWN_FIELD", f"{name[:40]}: unknown field; known are {', '.join(fields)}", field=name[:40])
    return {name: _value(name, kind, given) for name, kind in fields.items()}


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Rejected(413, "TOO_LONG", f"the body has more than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise Rejected(408, "TOO_SLOW", f"the body did not come within {WITHIN_S:.0f} s") from None
    except ClientDisconnect:
        raise Rejected(400, "CUT_OFF", "the body ended early") from None
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Rejected(400, "NOT_JSON", "the body is not JSON") from None


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _value(name: str, kind: type, given: Mapping[str, Any]) -> Any:
    if name not in given:
        raise Rejected(400, "MISSING", f"{name}: is missing", field=name)
    value: Any = given[name]
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        value = float(value)
    if type(value) is not kind:
        raise Rejected(400, "BAD_TYPE", f"{name}: should be {_WORDS[kind]}", field=name)
    if isinstance(value, str) and (len(value) > MAX_TEXT_CHARS or not value.isprintable()):
        raise Rejected(400, "BAD_TEXT", f"{name}: should be at most {MAX_TEXT_CHARS} printable characters", field=name)
    return value
