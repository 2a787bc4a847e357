"""How many files and connections a process that this user starts may have open."""

import resource
from collections.abc import Iterator
from typing import Final

from gpuwarden.cli.checks.found import Found, ok, warning
from gpuwarden.cli.checks.place import Place

BESIDE: Final = 256  # the ledger's, the bus's, the page's, the operators'


def check(place: Place) -> Iterator[Found]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    nodes = len(place.controller.nodes()) if place.controller is not None else 0
    needed = nodes + BESIDE
    for_whom = f"{nodes} agents' sessions and {BESIDE} beside them" if nodes else "any daemon but a controller"
    if limit != resource.RLIM_INFINITY and limit < needed:
        yield warning(f"{limit} files may be open, {needed} are needed for {for_whom}", f"ulimit -n {4 * needed}")
    else:
        yield ok(f"{limit} files may be open; {needed} do for {for_whom}")
