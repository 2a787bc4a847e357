"""What a change leads to, in sentences, from the domain as it would be."""

from collections.abc import Iterator

from gpuwarden.controller.web.words import percent, watts
from gpuwarden.proto.control_pb2 import PowerDomain
from gpuwarden.proto.lease_pb2 import Mode


def of_budget(shown: PowerDomain) -> list[str]:
    """`shown` has the new budget, and everything else as it is now."""
    return [*_room(shown), *_limits(shown)]


def of_mode(shown: PowerDomain) -> list[str]:
    """`shown` has the new mode, and everything else as it is now."""
    match shown.mode:
        case Mode.MODE_AUTO:
            return [f"From then on gpuwarden sets the limits of the {shown.node_count} nodes of {shown.name}.", *of_budget(shown)]
        case Mode.MODE_NOTIFY:
            return [_free(shown), "People are told when nodes would have to be capped."]
        case _:
            return [_free(shown), "What would be done is only written down."]


def _room(shown: PowerDomain) -> Iterator[str]:
    over_w = shown.power_w - shown.budget_w
    share = percent(shown.power_w / shown.budget_w)
    now = f"{shown.name} draws {watts(shown.power_w)} now, {share} of {watts(shown.budget_w)}"
    yield f"{now}: {watts(over_w)} too much." if over_w > 0 else f"{now}: {watts(-over_w)} are left."


def _limits(shown: PowerDomain) -> Iterator[str]:
    if shown.mode != Mode.MODE_AUTO:
        yield "Nothing is capped outside auto."
    elif shown.power_w > shown.budget_w:
        yield "Nodes are capped at once, until it fits."
    elif shown.counted_w > shown.budget_w:
        yield f"Limits come down, since the worst that they allow now, {watts(shown.counted_w)}, does not fit."
    else:
        yield "No limit has to come down; a raise waits until the power for it is certainly free."


def _free(shown: PowerDomain) -> str:
    return f"Nothing is capped any more: every card of {shown.name} goes back to its driver's default limit."
