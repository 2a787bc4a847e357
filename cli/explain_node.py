"""What `gpuwarden explain node` prints: how isolation sees a node, why, and what would make it surer."""

import time
from collections.abc import Iterator

from gpuwarden.controller.web import words
from gpuwarden.proto import control_pb2 as pb


def told(node: str, isolation: pb.Isolation) -> Iterator[str]:
    shown = next((one for one in isolation.nodes if one.name == node), None)
    if shown is None:
        yield f"{node}: healthy; nothing that counts accuses it, and nobody holds it"
    else:
        yield from _of_case(shown)
    yield f"scheduler: {isolation.scheduler}" + (f", and what it holds is not known: {isolation.scheduler_lost}" if isolation.scheduler_lost else "")
    yield from _modes(isolation)
    if isolation.stopped:
        yield f"STOPPED:   {isolation.stopped}"


def _of_case(shown: pb.IsolatedNode) -> Iterator[str]:
    would = ' ("would have" only)' if shown.would_have else ""
    yield f"{shown.name}: {shown.state}{would} since {_clock(shown.since_unix_ns)}" + (f", quarantine {shown.quarantine}" if shown.quarantine else "")
    yield f"why:       {shown.cause}"
    if shown.quarantine:
        yield f"evidence:  {shown.evidence}"
        yield f"surer:     {shown.surer or 'it is sure'}"
    if shown.ordered_by:
        yield f"ordered:   by {shown.ordered_by}"
    for reason in shown.held_back:
        yield f"held back: {reason}"
    yield f"jobs:      {', '.join(shown.jobs) or 'none'}"


def _modes(isolation: pb.Isolation) -> Iterator[str]:
    for group in isolation.groups:
        yield f"modes:     {group.name} ({', '.join(group.nodes)}): isolation {words.mode(group.isolation)}, restart {words.mode(group.restart)}"


def _clock(unix_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ns / 1e9))
