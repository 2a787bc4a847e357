"""This node's name: the same for agent and limiter, and in one of the controller's domains where that file is here too."""

import socket
from collections.abc import Iterator

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.place import Place


def names(place: Place) -> dict[str, str]:
    """By daemon, as agent and limiter call this node."""
    configs = {"agent": place.agent, "limiter": place.limiter}
    return {daemon: config.node or socket.gethostname() for daemon, config in configs.items() if config is not None}


def check(place: Place) -> Iterator[Found]:
    called = names(place)
    if not called:
        yield absent("no agent and no limiter is configured here")
        return
    if len(set(called.values())) > 1:
        said = ", ".join(f"the {daemon} calls it {name!r}" for daemon, name in called.items())
        yield wrong(f"this node has two names: {said}; the controller takes neither's word", f"$EDITOR {place.file('limiter')}")
    yield from (_known(place, name) for name in sorted(set(called.values())))


def _known(place: Place, name: str) -> Found:
    controller = place.controller
    if controller is None:
        return ok(f"this node is {name!r}; whether the controller knows it is to be seen on the controller's machine")
    nodes = controller.nodes()
    if name in nodes:
        return ok(f"this node is {name!r}, one of the controller's {len(nodes)}")
    return wrong(f"this node is {name!r}, which is in no domain of the controller's {len(nodes)} nodes", f"$EDITOR {place.file('controller')}")
