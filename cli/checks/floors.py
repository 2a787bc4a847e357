"""The limiter's floor and the one that the controller counts on for this node's class."""

from collections.abc import Iterator

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.node_names import names
from gpuwarden.cli.checks.place import Place


def check(place: Place) -> Iterator[Found]:
    limiter, controller = place.limiter, place.controller
    if limiter is None or controller is None:
        yield absent("limiter.toml and controller.toml are not both here")
        return
    from gpuwarden.controller.power.hostlist import expand

    node = names(place)["limiter"]
    classes = (made for domain in controller.domains for made in domain.classes)
    counted_w = next((made.floor_w for made in classes if node in expand(made.nodes)), None)
    if counted_w is None:
        yield absent(f"{node!r} is in no class of {place.file('controller')}")
    else:
        yield _compare(place, node, limiter.floor_w, counted_w)


def _compare(place: Place, node: str, floor_w: float, counted_w: float) -> Found:
    if floor_w > counted_w:
        said = f"the limiter's floor_w is {floor_w:g} W, the controller counts on {counted_w:g} W for {node}: it refuses every report"
        return wrong(said, f"$EDITOR {place.file('limiter')}")
    if floor_w < counted_w:
        said = f"the limiter's floor_w is {floor_w:g} W, the controller counts {counted_w:g} W for {node}: safe, but more than need be"
        return warning(said, f"$EDITOR {place.file('controller')}")
    return ok(f"floor_w is {floor_w:g} W for the limiter and in the controller's class of {node}")
