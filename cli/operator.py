"""`gpuwarden budget` and `mode`: what an operator tells a controller. And how a verb asks one: see `controller_verb`."""

import argparse
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.json_format import MessageToDict

from gpuwarden.cli.client import DEADLINE_S, SERVER, explained
from gpuwarden.core.address import Address, parse_address
from gpuwarden.core.channel import open_channel
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.lease_pb2 import Mode

TLS_DIR: Final = Path("~/.config/gpuwarden/tls").expanduser()
MODES: Final = {"observe": Mode.MODE_OBSERVE, "notify": Mode.MODE_NOTIFY, "approve": Mode.MODE_APPROVE, "auto": Mode.MODE_AUTO}
CLASSES: Final = {"isolation": pb.ACTION_CLASS_ISOLATION, "restart": pb.ACTION_CLASS_RESTART}

Ask = Callable[[grpc.Channel, argparse.Namespace], int]


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    budget = controller_verb(verbs, "budget", "set what a power domain may draw", _budget)
    budget.add_argument("domain", metavar="DOMAIN")
    budget.add_argument("budget_w", metavar="WATTS", type=float)
    mode = controller_verb(verbs, "mode", "set what may be done to a power domain, or to a group of nodes", _mode)
    mode.add_argument("domain", metavar="DOMAIN|GROUP")
    mode.add_argument("mode", metavar="MODE", choices=MODES, help="observe, notify, approve (not of power) or auto")
    mode.add_argument("--class", dest="of", choices=("power", *CLASSES), default="power", help="power of a domain; isolation or restart of a group")
    mode.add_argument("--force", action="store_true", help="leave auto although the breaker may not hold without caps")
    for verb in (budget, mode):
        verb.add_argument("--dry-run", action="store_true", help="check it and change nothing")
        verb.add_argument("--json", action="store_true")


def controller_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, meaning: str, ask: Ask, unanswered: int = 1
) -> argparse.ArgumentParser:
    """A verb that asks a controller; `unanswered` is its exit status where none answers or it refuses."""
    verb = verbs.add_parser(name, help=meaning)
    verb.add_argument(
        "--server", "--controller", dest="server", type=_address, default=SERVER, metavar="HOST:PORT",
        help=f"the controller; default {SERVER}",
    )
    verb.add_argument(
        "--tls", type=Path, default=TLS_DIR if TLS_DIR.exists() else None, metavar="DIR",
        help=f"folder with ca.crt, tls.crt and tls.key to show who you are; default {TLS_DIR} if it is there",
    )
    verb.set_defaults(run=run, ask=ask, unanswered=unanswered, verb=name)
    return verb


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None


def run(args: argparse.Namespace) -> int:
    ask: Ask = args.ask
    with open_channel(args.server, args.tls) as channel:
        try:
            return ask(channel, args)
        except grpc.RpcError as why:
            assert isinstance(why, grpc.Call), "a unary call's error is the call itself"
            print(f"gpuwarden: {explained(why, args.server)}", file=sys.stderr)
            return int(args.unanswered)


def _word(mode: "Mode.ValueType") -> str:
    return Mode.Name(mode).removeprefix("MODE_").lower()


def _budget(channel: grpc.Channel, args: argparse.Namespace) -> int:
    request = pb.SetBudgetRequest(
        domain=args.domain, budget_w=args.budget_w, request_id=uuid.uuid4().hex, validate_only=args.dry_run
    )
    set_to = ControlServiceStub(channel).SetBudget(request, timeout=DEADLINE_S).domain
    _tell(args, set_to, f"budget {'would be' if args.dry_run else 'is'} {set_to.budget_w:,.0f} W")
    return 0


def _mode(channel: grpc.Channel, args: argparse.Namespace) -> int:
    if args.of != "power":
        return _isolation_mode(channel, args)
    request = pb.SetModeRequest(
        domain=args.domain, mode=MODES[args.mode], request_id=uuid.uuid4().hex, validate_only=args.dry_run, force=args.force
    )
    response = ControlServiceStub(channel).SetMode(request, timeout=DEADLINE_S)
    if response.warning:
        print(f"gpuwarden: warning: {response.warning}", file=sys.stderr)
    _tell(args, response.domain, f"mode {'would be' if args.dry_run else 'is'} {_word(response.domain.mode)}")
    return 0


def _isolation_mode(channel: grpc.Channel, args: argparse.Namespace) -> int:
    request = pb.SetIsolationModeRequest(group=args.domain, action_class=CLASSES[args.of], mode=MODES[args.mode], validate_only=args.dry_run)
    sentence = ControlServiceStub(channel).SetIsolationMode(request, timeout=DEADLINE_S).sentence
    print(json.dumps({"sentence": sentence, "done": not args.dry_run}, indent=1) if args.json else f"{'would be: ' if args.dry_run else ''}{sentence}")
    return 0


def _tell(args: argparse.Namespace, domain: pb.PowerDomain, sentence: str) -> None:
    if args.json:
        print(json.dumps(MessageToDict(domain, preserving_proto_field_name=True), indent=1))
    else:
        print(f"{domain.name}: {sentence}")
