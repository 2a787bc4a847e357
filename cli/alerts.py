"""`gpuwarden alerts`, `ack` and `maintenance`: what people are told of, and what they say to it."""

import argparse
import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import MessageToDict

from gpuwarden.cli.client import DEADLINE_S
from gpuwarden.cli.duration import duration_s
from gpuwarden.cli.operator import controller_verb
from gpuwarden.cli.plain_text import printable
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

if TYPE_CHECKING:
    import grpc

_LEVELS: Final = ("not told yet", "told", "escalated")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listed = controller_verb(verbs, "alerts", "what people are told of now, and the maintenance windows", _alerts)
    ack = controller_verb(verbs, "ack", "take an alert on: it is not escalated, nor told again", _ack)
    ack.add_argument("key", metavar="ALERT", help="its key, from gpuwarden alerts")
    opened = controller_verb(verbs, "maintenance", "tell nobody of these nodes' alerts for a time, or end that", _maintenance)
    what = opened.add_mutually_exclusive_group(required=True)
    what.add_argument("--nodes", nargs="+", default=[], metavar="NODES", help="`gpu[01-08]` is a range")
    what.add_argument("--domain", default="", metavar="DOMAIN", help="everything in it")
    what.add_argument("--end", default="", metavar="ID", help="end this window now")
    opened.add_argument("--for", dest="duration_s", type=duration_s, default=3600.0, metavar="TIME", help="30m, 4h, 2d; default 1h")
    opened.add_argument("--reason", default="", help="what whoever is on call should read")
    opened.add_argument("--dry-run", action="store_true", help="check it and change nothing")
    for verb in (listed, ack, opened):
        verb.add_argument("--json", action="store_true")


def _alerts(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    seen = ControlServiceStub(channel).ListAlerts(pb.ListAlertsRequest(), timeout=DEADLINE_S)
    if args.json:
        print(json.dumps(MessageToDict(seen, preserving_proto_field_name=True), indent=1))
        return 0
    for alert in seen.alerts:
        state = f"acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else _LEVELS[min(alert.level, 2)]
        print(printable(f"{alert.severity:<9} {alert.key:<32} {state}\n          {alert.title}: {alert.text}"))
    for window in seen.maintenance:
        print(printable(f"window    {window.id}: {_window(window)}"))
    if not seen.alerts and not seen.maintenance:
        print("nothing to tell, no maintenance")
    return 0


def _ack(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    request = pb.AcknowledgeAlertRequest(key=args.key, request_id=uuid.uuid4().hex)
    alert = ControlServiceStub(channel).AcknowledgeAlert(request, timeout=DEADLINE_S).alert
    _tell(args, alert, f"{alert.title}: acknowledged by {alert.acknowledged_by}")
    return 0


def _maintenance(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    stub, id = ControlServiceStub(channel), uuid.uuid4().hex
    if args.end:
        window = stub.EndMaintenance(pb.EndMaintenanceRequest(id=args.end, request_id=id), timeout=DEADLINE_S).maintenance
        _tell(args, window, f"ended: {_window(window)}")
        return 0
    request = pb.OpenMaintenanceRequest(
        nodes=args.nodes, domain=args.domain, duration_s=args.duration_s, reason=args.reason, request_id=id, validate_only=args.dry_run
    )
    window = stub.OpenMaintenance(request, timeout=DEADLINE_S).maintenance
    _tell(args, window, f"{'would be open' if args.dry_run else 'open'} as {window.id}: {_window(window)}")
    return 0


def _window(window: pb.Maintenance) -> str:
    until = datetime.fromtimestamp(window.until_unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    left_min = (window.until_unix_ns / 1e9 - time.time()) / 60
    where = window.domain or f"{len(window.nodes)} nodes, {window.nodes[0]} first"
    return f"{where} until {until} ({left_min:,.0f} min), {window.reason} ({window.actor})"


def _tell(args: argparse.Namespace, message: "pb.Alert | pb.Maintenance", sentence: str) -> None:
    print(json.dumps(MessageToDict(message, preserving_proto_field_name=True), indent=1) if args.json else printable(sentence))
