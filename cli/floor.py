"""`gpuwarden floor`: what a single job's nodes are to keep, for the job's prolog and epilog to say."""

import argparse
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from gpuwarden.cli.client import DEADLINE_S
from gpuwarden.cli.duration import duration_s
from gpuwarden.cli.operator import controller_verb
from gpuwarden.cli.plain_text import printable
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

if TYPE_CHECKING:
    import grpc


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    floor = controller_verb(verbs, "floor", "what jobs keep of their power; set it for one, or end that", _floor)
    floor.add_argument("job", metavar="JOB", nargs="?", help="without it: list them")
    floor.add_argument("--watts", dest="floor_w", type=float, metavar="W", help="of each GPU, that policies leave it")
    floor.add_argument("--nodes", nargs="+", default=[], metavar="NODES", help="the job's; `gpu[01-08]` is a range")
    floor.add_argument("--for", dest="duration_s", type=duration_s, default=86_400.0, metavar="TIME", help="30m, 4h, 2d; default 1d")
    floor.add_argument("--end", action="store_true", help="it keeps nothing from now on")
    floor.add_argument("--dry-run", action="store_true", help="check it and change nothing")
    floor.add_argument("--json", action="store_true")


def _floor(channel: "grpc.Channel", args: argparse.Namespace) -> int:
    stub = ControlServiceStub(channel)
    if args.job is None:
        return _listed(stub, args)
    if args.end == (args.floor_w is not None):
        print("gpuwarden floor: exactly one of --watts and --end should be given with JOB", file=sys.stderr)
        return 2
    id = uuid.uuid4().hex
    if args.end:
        ended = stub.EndJobFloor(pb.EndJobFloorRequest(job=args.job, request_id=id), timeout=DEADLINE_S).floor
        return _tell(args, ended, f"ended: {_line(ended)}")
    request = pb.SetJobFloorRequest(
        job=args.job, nodes=args.nodes, floor_w=args.floor_w, duration_s=args.duration_s, request_id=id, validate_only=args.dry_run
    )
    made = stub.SetJobFloor(request, timeout=DEADLINE_S).floor
    return _tell(args, made, f"would be: {_line(made)}" if args.dry_run else _line(made))


def _listed(stub: ControlServiceStub, args: argparse.Namespace) -> int:
    domains = stub.ListPowerDomains(pb.ListPowerDomainsRequest(), timeout=DEADLINE_S).domains
    floors = {floor.job: floor for domain in domains for floor in domain.job_floors}
    if args.json:
        print(json.dumps([MessageToDict(floor, preserving_proto_field_name=True) for floor in floors.values()], indent=1))
    else:
        print("\n".join(printable(_line(floor)) for floor in floors.values()) or "no job keeps anything")
    return 0


def _line(floor: pb.JobFloor) -> str:
    left_min = (floor.until_unix_ns / 1e9 - time.time()) / 60
    return f"job {floor.job} keeps {floor.floor_w:g} W a GPU on {len(floor.nodes)} nodes, {floor.nodes[0]} first, {left_min:,.0f} min more ({floor.actor})"


def _tell(args: argparse.Namespace, floor: pb.JobFloor, sentence: str) -> int:
    print(json.dumps(MessageToDict(floor, preserving_proto_field_name=True), indent=1) if args.json else printable(sentence))
    return 0
