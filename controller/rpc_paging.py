"""Pages of a list that may change between two calls: a token is a key, never an offset."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from gpuwarden.controller.rpc_refusal import invalid

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000
_AFTER: Final = "after:"

Item = TypeVar("Item")


def page_size(asked: int) -> int:
    """0 asks for the default; more than MAX_PAGE_SIZE gets that many."""
    if asked < 0:
        raise invalid("page_size", "NEGATIVE", f"page_size: is {asked}, must not be negative")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_by_key(items: Iterable[Item], key: Callable[[Item], str], asked: int, token: str) -> tuple[Sequence[Item], str]:
    """The items whose keys follow the token's, in order of key, and the next page's token, empty on the last."""
    size = page_size(asked)
    if token and not token.startswith(_AFTER):
        raise invalid("page_token", "BAD_PAGE_TOKEN", f"page_token: {token[:40]!r} is not a token of this list")
    after = token.removeprefix(_AFTER)
    rest = sorted((item for item in items if not token or key(item) > after), key=key)
    page = rest[:size]
    return page, _AFTER + key(page[-1]) if len(rest) > size else ""


def below_id(token: str, highest: int) -> int:
    """The id that a page of ledger lines stays below."""
    if not token:
        return highest
    if not (token.isascii() and token.isdigit() and 0 < int(token) <= highest):
        raise invalid("page_token", "BAD_PAGE_TOKEN", f"page_token: {token[:40]!r} is not the id of a ledger line")
    return int(token)
