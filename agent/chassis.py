"""Resources of one Redfish chassis: links are followed, readings taken out, and nothing is taken for a number that cannot be one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gpuwarden.core.redfish import Found, Json, linked, number, target

MAX_MEMBERS: Final = 64  # of one collection: no node has more supplies, fans or chassis
MAX_PAGES: Final = 32  # that a collection is told in

Get = Callable[[str], Json]


@dataclass(frozen=True, slots=True)
class Listed:
    """Members of a collection, each once; `whole` is False where it has more of them."""

    paths: tuple[str, ...] = ()
    whole: bool = True


class Chassis:
    """One chassis' resources. What changes by a person's hand only is kept; readings are fetched once a pass, `begin` to `begin`."""

    def __init__(self, get: Get, path: str) -> None:
        self.path = path
        self._get = get
        self._kept: dict[str, Json] = {}
        self._fresh: dict[str, Json] = {}

    def begin(self, get: Get) -> None:
        """A new pass."""
        self._get = get
        self._fresh.clear()

    def fixed(self, path: str) -> Json:
        if path not in self._kept:
            self._kept[path] = self.fresh(path)
        return self._kept[path]

    def fresh(self, path: str) -> Json:
        if path not in self._fresh:
            self._fresh[path] = self._get(path)
        return self._fresh[path]

    def link(self, *names: str) -> str:
        """Where these links lead, one after the other, from the chassis; '' where one is absent."""
        path = self.path
        for name in names:
            path = linked(self.fixed(path), name) if path else ""
        return path

    def members(self, *names: str, most: int = MAX_MEMBERS) -> Listed:
        """Of the collection that the links lead to."""
        return members(self.fixed, path, most) if (path := self.link(*names)) else Listed()

    def entries(self, resource: str, array: str) -> list[tuple[str, Json]]:
        """Elements of an array inside a resource that is there now, each with its place."""
        path = self.link(resource)
        listed = self.fresh(path).get(array) if path else None
        elements = listed[:MAX_MEMBERS] if isinstance(listed, list) else []
        return [(f"{path}#/{array}/{i}", element) for i, element in enumerate(elements) if isinstance(element, Mapping) and present(element)]

    def reading(self, path: str, *keys: str) -> Found:
        return number(path, self.fresh(path), *keys)


def present(document: Json) -> bool:
    """An empty bay has an entry too, whose state is Absent."""
    status = document.get("Status")
    return not (isinstance(status, Mapping) and status.get("State") == "Absent")


def members(get: Get, collection: str, most: int = MAX_MEMBERS) -> Listed:
    """The first `most`, page after page (DSP0266, Members@odata.nextLink). A page that cannot be had fails all: a part would pass for the whole."""
    paths, asked, page = dict[str, None](), set[str](), collection
    while page and page not in asked and len(asked) < MAX_PAGES and len(paths) <= most:
        asked.add(page)
        document = get(page)
        listed, following = document.get("Members"), document.get("Members@odata.nextLink")
        paths |= dict.fromkeys(filter(None, map(target, listed if isinstance(listed, list) else ())))
        page = following if isinstance(following, str) else ""
    return Listed(tuple(paths)[:most], whole=len(paths) <= most and (not page or page in asked))
