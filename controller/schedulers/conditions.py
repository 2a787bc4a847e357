"""When a scheduler does what it is asked, from what was just read of it: the same for all. Refused says which field, and why."""

from collections.abc import Sequence
from typing import Final

from gpuwarden.controller.schedulers.names import shown
from gpuwarden.controller.schedulers.scheduler import Availability, JobTruth, NodeTruth, Phase, Refused

WAITING: Final = (Phase.PENDING, Phase.HELD)


def out_for(node: NodeTruth, reason: str) -> bool:
    """It takes no work, for exactly this reason."""
    return node.availability is not Availability.AVAILABLE and node.reason == reason


def check_drain(node: NodeTruth, reason: str) -> None:
    """Refused if it is out already, for whatever else: who has put it there has a note on it, and we would write over that."""
    if node.availability is not Availability.AVAILABLE and node.reason != reason:
        raise Refused(f"node: {node.node} is {node.availability.value} already, {_why(node)}: that is somebody else's")


def check_resume(node: NodeTruth, reason: str) -> None:
    """Refused if it is not out for exactly this reason, or down: then there is nothing to give back yet."""
    if not out_for(node, reason) or node.availability is Availability.DOWN:
        raise Refused(f"node: {node.node} is {node.availability.value}, {_why(node)}, not drained for {shown(reason)}")


def check_requeue(job: JobTruth, restarts_seen: int) -> None:
    """Refused if it was started anew since, may not be, or does not run: a suspended one would be held, and one that waits is requeued already."""
    if job.restarts != restarts_seen:
        raise Refused(f"job: {job.job} was started anew {job.restarts} times, not {restarts_seen}")
    if not job.requeueable:
        raise Refused(f"job: {job.job} is {job.kind.value} and may not be requeued")
    if job.phase is not Phase.RUNNING:
        raise Refused(f"job: {job.job} is {job.phase.value}, not running")


def check_exclude(job: JobTruth, nodes: Sequence[str], *also: Phase) -> None:
    """Refused if it does not wait, and is in none of these phases; or asks for one of the nodes by name, since then it would never start."""
    if job.phase not in (*WAITING, *also):
        raise Refused(f"job: {job.job} is {job.phase.value}, and does not wait to be started")
    for node in nodes:
        if node in job.required:
            raise Refused(f"nodes: {job.job} asks for {node} by name, and would never start without it")


def _why(node: NodeTruth) -> str:
    return f"for {shown(node.reason)}" if node.reason else "for no reason that is told"
