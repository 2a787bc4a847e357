"""`gpuwarden cordon`, `uncordon`, `approve` and `reject`: what a person says to isolation."""

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gpuwarden.cli.client import DEADLINE_S
from gpuwarden.cli.operator import Ask, controller_verb
from gpuwarden.cli.plain_text import printable
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

if TYPE_CHECKING:
    import grpc

Call = Callable[[ControlServiceStub, argparse.Namespace], Any]

VERBS: Final[dict[str, tuple[str, str, Call]]] = {
    "cordon": ("take a node out of service: no new work; what runs there goes on", "NODE", lambda control, args: control.Cordon(
        pb.CordonRequest(node=args.of, reason=args.reason, validate_only=args.dry_run), timeout=DEADLINE_S)),
    "uncordon": ("give a node back that was taken out by us", "NODE", lambda control, args: control.Uncordon(
        pb.UncordonRequest(node=args.of, validate_only=args.dry_run), timeout=DEADLINE_S)),
    "approve": ("say yes to a prepared act, or let isolation go on", "ID", lambda control, args: control.Approve(
        pb.ApproveRequest(id=args.of, validate_only=args.dry_run), timeout=DEADLINE_S)),
    "reject": ("say no to a prepared act, and to the evidence for it", "ID", lambda control, args: control.Reject(
        pb.RejectRequest(id=args.of, validate_only=args.dry_run), timeout=DEADLINE_S)),
}  # fmt: skip


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, (meaning, of, call) in VERBS.items():
        verb = controller_verb(verbs, name, meaning, _asking(call))
        verb.add_argument("of", metavar=of, help="the node" if of == "NODE" else "of the question; see gpuwarden status")
        if name == "cordon":
            verb.add_argument("--reason", default="", metavar="TEXT", help="why, for those who find it drained")
        verb.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        verb.add_argument("--json", action="store_true")


def _asking(call: Call) -> Ask:
    def ask(channel: "grpc.Channel", args: argparse.Namespace) -> int:
        sentence = str(call(ControlServiceStub(channel), args).sentence)
        told = {"sentence": sentence, "done": not args.dry_run}
        print(json.dumps(told, indent=1) if args.json else printable(f"would be: {sentence}" if args.dry_run else sentence))
        return 0

    return ask
