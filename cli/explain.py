"""`gpuwarden explain cap NODE`: why this node has this limit now. `explain finding ID`: what was seen, and what was expected.
`explain node NODE`: how isolation sees it."""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from gpuwarden.cli import explain_node
from gpuwarden.cli.explain_finding import told
from gpuwarden.cli.operator import controller_verb
from gpuwarden.cli.plain_text import aligned, printable
from gpuwarden.cli.status import ask, findings
from gpuwarden.controller.web import words
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.lease_pb2 import Mode

if TYPE_CHECKING:
    import grpc

_TITLE = ("LIMIT", "CARRIES", "DRAWS UP TO", "FOREIGN", "WORST CASE", "HEAT")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    explain = controller_verb(verbs, "explain", "why a node has the power limit that it has, or is taken out, or why there is a finding", _explain)
    explain.add_argument("what", choices=_WHATS)
    explain.add_argument("of", metavar="NODE|ID", help="the node, or the finding's id or its first digits")
    explain.add_argument("--json", action="store_true")


def _explain(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    return _WHATS[args.what](channel, args)


def _node(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    seen = ask(ControlServiceStub(channel))
    if not seen.HasField("isolation"):
        print("gpuwarden: this controller isolates no nodes: its configuration has no [isolation]", file=sys.stderr)
        return 1
    if args.of not in [node.name for node in seen.nodes]:
        print(f"gpuwarden: no node {args.of!r}; see gpuwarden status --json", file=sys.stderr)
        return 1
    if args.json:
        shown = [MessageToDict(node, preserving_proto_field_name=True) for node in seen.isolation.nodes if node.name == args.of]
        print(json.dumps({"node": args.of, "isolation": shown[0] if shown else None}, indent=1))
    else:
        print("\n".join(map(printable, explain_node.told(args.of, seen.isolation))))
    return 0


def _finding(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    """Resolved ones too, as long as the controller remembers them."""
    found = [one for one in findings(ControlServiceStub(channel), include_resolved=True) if args.of and one.id.startswith(args.of)]
    if len(found) != 1:
        why = f"{len(found)} findings begin with it" if found else "the controller knows none with it"
        print(f"gpuwarden: no finding {args.of!r}: {why}; see gpuwarden status --json", file=sys.stderr)
        return 1
    (finding,) = found
    if args.json:
        print(json.dumps(MessageToDict(finding, preserving_proto_field_name=True), indent=1))
    else:
        print("\n".join(map(printable, told(finding))))
    return 0


def _cap(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    seen = ask(ControlServiceStub(channel))
    node = next((node for node in seen.nodes if node.name == args.of), None)
    if node is None:
        print(f"gpuwarden: no node {args.of!r} in any power domain; see gpuwarden status --json", file=sys.stderr)
        return 1
    domain = next(domain for domain in seen.cluster.domains if domain.name == node.domain)
    if args.json:
        limits = [MessageToDict(limit, preserving_proto_field_name=True) for limit in _limits(node, domain)]
        print(json.dumps({"node": MessageToDict(node, preserving_proto_field_name=True), "limits": limits}, indent=1))
    else:
        print("\n".join(map(printable, explained(node, domain))))
    return 0


def explained(node: pb.Node, domain: pb.PowerDomain) -> Iterator[str]:
    """Its limit, the reason, what is in force, and the limits above it that say so."""
    each_w, floor_w, default_w = (watts / node.gpu_count for watts in (node.granted_w, node.floor_w, node.default_w))
    would = "" if domain.mode == Mode.MODE_AUTO else f"would be (mode {words.mode(domain.mode)}) "
    yield f"{node.name}: {node.gpu_count} GPUs {would}at {each_w:.0f} W each; the floor is {floor_w:.0f} W, the driver's default {default_w:.0f} W"
    yield f"why:      {node.reason or 'nothing has changed its limit since the controller started'}"
    if node.clock_reason:
        yield f"clocks:   {node.clock_reason}"
    yield f"in force: {_in_force(node)}"
    if node.refusal:
        yield f"refused:  {node.refusal}"
    yield f"draws:    {words.watts(node.gpu_power_w)} on its GPUs, {words.watts(node.power_w)} in all; counted with limits of {words.watts(node.counted_w)} in every sum"
    yield ""
    limits = _limits(node, domain)
    yield from aligned([_TITLE, *map(_cells, limits)], range(1, len(_TITLE)))
    for limit in limits:
        if limit.HasField("meter"):
            yield _metered(limit)
            yield from _learnt(limit.meter)


def _in_force(node: pb.Node) -> str:
    if not 0 <= node.report_age_s < float("inf"):
        return "nothing was heard of its limiter"
    lease = f", the lease runs {node.lease_ends_in_s:.1f} s more" if 0 < node.lease_ends_in_s < float("inf") else ""
    return f"{node.enforced_w / node.gpu_count:.0f} W each, as read back {node.report_age_s:.1f} s ago{lease}"


def _limits(node: pb.Node, domain: pb.PowerDomain) -> list[pb.PowerLimit]:
    """The one that binds it, and the domain's own."""
    return [limit for limit in domain.limits if limit.name in (node.bound_by, domain.name)]


def _cells(limit: pb.PowerLimit) -> tuple[str, ...]:
    watts = (limit.rating_w, limit.power_w, limit.foreign_w, limit.counted_w)
    return limit.name, *map(words.watts, watts), words.percent(limit.heat_ratio)


def _learnt(meter: pb.Meter) -> Iterator[str]:
    """What it suggests to write of the nodes, where it is sure."""
    for gain in meter.gains:
        if gain.known:
            off, way = abs(1.0 - 1.0 / gain.mean), "low" if gain.mean >= 1.0 else "high"
            counted = f"; counts as {gain.counted:.3f} in every sum" if gain.counted > 1.0 else "; frees nothing unless gain_error is written so"
            yield f"  the sensors of {gain.of} read {off * 100:.1f} % {way} (a gain of {gain.mean:.3f}, deviation {gain.sd:.3f}){counted}"
    if any(gain.known for gain in meter.gains):
        yield f"  beside the GPUs it carries {words.watts(meter.rest_w)}: nodes' base_w, declared base and what is foreign"


def _metered(limit: pb.PowerLimit) -> str:
    """What its meter shows, and what of it is ours."""
    meter = limit.meter
    if not 0 <= meter.age_s < float("inf"):
        return f"meter of {limit.name} ({meter.kind}): no reading yet{f': {meter.failure}' if meter.failure else ''}"
    said = f"meter of {limit.name} ({meter.kind}): {words.watts(meter.power_w)}, {meter.age_s:.1f} s ago"
    if math.isfinite(meter.nodes_w):
        said += f"; {words.watts(meter.nodes_w)} were its nodes' by their sensors, {words.watts(meter.base_w)} are declared as base load"
    if meter.lacks_w > 0:
        said += f"; {words.watts(meter.lacks_w)} less than the GPUs alone: it loosens nothing"
    return f"{said}; silent: {meter.failure or 'nobody reports it'}" if meter.silent else said


_WHATS = {"cap": _cap, "finding": _finding, "node": _node}
