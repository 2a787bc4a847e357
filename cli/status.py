"""`gpuwarden status`: the cluster at a glance, what is wrong with it, and the line to type next."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import MessageToDict

from gpuwarden.cli.client import DEADLINE_S, serving
from gpuwarden.cli.operator import controller_verb
from gpuwarden.cli.plain_text import Ink
from gpuwarden.cli.status_text import status_lines
from gpuwarden.cli.status_wrong import Trouble, troubles
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.finding_pb2 import Finding

if TYPE_CHECKING:
    import grpc

PAGE: Final = 1000
UNANSWERED: Final = 2


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    meaning = "the cluster at a glance: 0 all is well, 1 something is wrong, 2 no controller answers"
    status = controller_verb(verbs, "status", meaning, _status, UNANSWERED)
    status.add_argument("--json", action="store_true", help="everything, each node included, as JSON")


def _status(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    seen = ask(ControlServiceStub(channel))
    found = list(troubles(seen, alive=serving(channel, DEADLINE_S)))
    if args.json:
        print(json.dumps(as_json(seen, found), indent=1))
    else:
        print("\n".join(status_lines(seen, found, Ink(sys.stdout.isatty()))))
    return int(any(trouble.wrong for trouble in found))


def ask(controller: ControlServiceStub) -> pb.WatchResponse:
    """Cluster, nodes and what fires, to the last page. Raises grpc.RpcError."""
    cluster = controller.GetCluster(pb.GetClusterRequest(), timeout=DEADLINE_S)
    seen = pb.WatchResponse(cluster=cluster, nodes=_nodes(controller), findings=findings(controller))
    if (isolation := _isolation(controller)) is not None:
        seen.isolation.CopyFrom(isolation)
    return seen


def _isolation(controller: ControlServiceStub) -> pb.Isolation | None:
    """None of a controller that isolates nothing, or is too old to know of it."""
    import grpc

    try:
        told = controller.GetIsolation(pb.GetIsolationRequest(), timeout=DEADLINE_S)
    except grpc.RpcError as why:
        if isinstance(why, grpc.Call) and why.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise
    return told.isolation if told.HasField("isolation") else None


def as_json(seen: pb.WatchResponse, found: list[Trouble]) -> dict[str, object]:
    said = [{"wrong": one.wrong, "sentence": one.sentence, "next": one.then} for one in found]
    snapshot: dict[str, object] = MessageToDict(seen, preserving_proto_field_name=True)
    return {**snapshot, "troubles": said}


def _nodes(controller: ControlServiceStub) -> Iterator[pb.Node]:
    token = ""
    while True:
        page = controller.ListNodes(pb.ListNodesRequest(page_size=PAGE, page_token=token), timeout=DEADLINE_S)
        yield from page.nodes
        if not (token := page.next_page_token):
            return


def findings(controller: ControlServiceStub, include_resolved: bool = False) -> Iterator[Finding]:
    """To the last page."""
    token = ""
    while True:
        asked = pb.ListFindingsRequest(page_size=PAGE, page_token=token, include_resolved=include_resolved)
        page = controller.ListFindings(asked, timeout=DEADLINE_S)
        yield from page.findings
        if not (token := page.next_page_token):
            return
