"""`gpuwarden status`, `budget` and `mode`: what a controller sees, and what an operator tells it."""

import argparse
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import grpc
from google.protobuf.json_format import MessageToDict

from gpuwarden.core.address import Address, parse_address
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.lease_pb2 import Mode

SERVER: Final = Address("127.0.0.1", 7443)
DEADLINE_S: Final = 10.0
MODES: Final = {"observe": Mode.MODE_OBSERVE, "notify": Mode.MODE_NOTIFY, "auto": Mode.MODE_AUTO}
_DETAILS_KEY: Final = "grpc-status-details-bin"  # the controller's own words come with it
_DOMAIN_LINE: Final = "{:<16} {:<8} {:>11} {:>11} {:>11} {:>11} {:>6}  {}"

Ask = Callable[[ControlServiceStub, argparse.Namespace], int]


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    status = _verb(verbs, "status", "the cluster in short", _status)
    status.add_argument("--json", action="store_true", help="everything, nodes included, as JSON")
    budget = _verb(verbs, "budget", "set what a power domain may draw", _budget)
    budget.add_argument("domain", metavar="DOMAIN")
    budget.add_argument("budget_w", metavar="WATTS", type=float)
    mode = _verb(verbs, "mode", "set what may be done to a power domain", _mode)
    mode.add_argument("domain", metavar="DOMAIN")
    mode.add_argument("mode", metavar="MODE", choices=MODES, help="observe, notify or auto")
    mode.add_argument("--force", action="store_true", help="leave auto although the breaker may not hold without caps")
    for verb in (budget, mode):
        verb.add_argument("--dry-run", action="store_true", help="check it and change nothing")
        verb.add_argument("--json", action="store_true")


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, meaning: str, ask: Ask
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=meaning)
    verb.add_argument("--server", type=_address, default=SERVER, metavar="HOST:PORT", help=f"the controller; default {SERVER}")
    verb.set_defaults(run=run, ask=ask, verb=name)
    return verb


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None


def run(args: argparse.Namespace) -> int:
    ask: Ask = args.ask
    with grpc.insecure_channel(str(args.server)) as channel:
        try:
            return ask(ControlServiceStub(channel), args)
        except grpc.RpcError as why:
            assert isinstance(why, grpc.Call), "a unary call's error is the call itself"
            print(f"gpuwarden: {_explained(why, args.server)}", file=sys.stderr)
            return 1


def _explained(why: grpc.Call, server: Address) -> str:
    """What went wrong and what to do about it."""
    said = why.details()
    if any(key == _DETAILS_KEY for key, _ in why.trailing_metadata() or ()):
        return f"refused ({why.code().name}): {said}"
    match why.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"no controller answers at {server}; is it running, and is --server its `listen` address? ({said})"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{server} did not answer within {DEADLINE_S:.0f} s; what was asked may still take effect: see gpuwarden status"
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"{server} is not a controller that knows this request: {said}"
        case code:
            return f"{server} answered {code.name}: {said}"


def _status(controller: ControlServiceStub, args: argparse.Namespace) -> int:
    cluster = controller.GetCluster(pb.GetClusterRequest(), timeout=DEADLINE_S)
    nodes = list(_nodes(controller))
    findings = controller.ListFindings(pb.ListFindingsRequest(), timeout=DEADLINE_S).findings
    if args.json:
        snapshot = pb.WatchResponse(cluster=cluster, nodes=nodes, findings=findings)
        print(json.dumps(MessageToDict(snapshot, preserving_proto_field_name=True), indent=1))
    else:
        print("\n".join(_status_lines(pb.WatchResponse(cluster=cluster, nodes=nodes, findings=findings))))
    return 0


def _nodes(controller: ControlServiceStub) -> Iterator[pb.Node]:
    token = ""
    while True:
        page = controller.ListNodes(pb.ListNodesRequest(page_size=1000, page_token=token), timeout=DEADLINE_S)
        yield from page.nodes
        token = page.next_page_token
        if not token:
            return


def _status_lines(seen: pb.WatchResponse) -> Iterator[str]:
    cluster = seen.cluster
    yield f"controller {cluster.controller_id}, gpuwarden {cluster.controller_version}, epoch {cluster.epoch}"
    yield f"{cluster.node_count} nodes: {cluster.live_count} live, {cluster.stale_count} stale; {cluster.firing_count} findings fire"
    yield _DOMAIN_LINE.format("DOMAIN", "MODE", "POWER", "AT WORST", "BUDGET", "RATING", "HEAT", "")
    yield from map(_domain_line, cluster.domains)
    for node in seen.nodes:
        if node.state != pb.NodeState.NODE_STATE_LIVE:
            word = pb.NodeState.Name(node.state).removeprefix("NODE_STATE_").lower()
            yield f"{node.name}: {word}, counted at {node.counted_w:,.0f} W"
    for finding in seen.findings:
        yield f"{finding.subject.node}: {finding.summary} {finding.suggested_action}".rstrip()


def _domain_line(domain: pb.PowerDomain) -> str:
    watts = (f"{w:,.0f} W" for w in (domain.power_w, domain.counted_w, domain.budget_w, domain.rating_w))
    return _DOMAIN_LINE.format(domain.name, _word(domain.mode), *watts, f"{domain.heat_ratio:.0%}", domain.sentence)


def _word(mode: "Mode.ValueType") -> str:
    return Mode.Name(mode).removeprefix("MODE_").lower()


def _budget(controller: ControlServiceStub, args: argparse.Namespace) -> int:
    request = pb.SetBudgetRequest(
        domain=args.domain, budget_w=args.budget_w, request_id=uuid.uuid4().hex, validate_only=args.dry_run
    )
    set_to = controller.SetBudget(request, timeout=DEADLINE_S).domain
    _tell(args, set_to, f"budget {'would be' if args.dry_run else 'is'} {set_to.budget_w:,.0f} W")
    return 0


def _mode(controller: ControlServiceStub, args: argparse.Namespace) -> int:
    request = pb.SetModeRequest(
        domain=args.domain, mode=MODES[args.mode], request_id=uuid.uuid4().hex, validate_only=args.dry_run, force=args.force
    )
    response = controller.SetMode(request, timeout=DEADLINE_S)
    if response.warning:
        print(f"gpuwarden: warning: {response.warning}", file=sys.stderr)
    _tell(args, response.domain, f"mode {'would be' if args.dry_run else 'is'} {_word(response.domain.mode)}")
    return 0


def _tell(args: argparse.Namespace, domain: pb.PowerDomain, sentence: str) -> None:
    if args.json:
        print(json.dumps(MessageToDict(domain, preserving_proto_field_name=True), indent=1))
    else:
        print(f"{domain.name}: {sentence}")
