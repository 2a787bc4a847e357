"""Slurm, by its own command line: scontrol, sinfo and squeue of 22.05, which must be on the PATH. SLURM_CONF is passed on.

Nothing is changed that was not read just before, and what was asked for is read back: that decides, not what a tool says of itself.
Between reading and changing lie some milliseconds in which Slurm offers nothing to compare with; a person who drains the same node then is overwritten.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from gpuwarden.controller.schedulers.command import Ended, run
from gpuwarden.controller.schedulers.conditions import (
    check_drain,
    check_exclude,
    check_requeue,
    check_resume,
    out_for,
)
from gpuwarden.controller.schedulers.names import check_job, check_node, check_nodes, check_reason, shown
from gpuwarden.controller.schedulers.scheduler import JobTruth, NodeTruth, Phase, Refused, Truth, Unreachable
from gpuwarden.controller.schedulers.slurm_truth import rows, truth_of

CALL_S: Final = 10.0  # of one tool. Slurm's own MessageTimeout is 10 s by default: a controller that hangs is given up with it
MOST_LIST_CHARS: Final = 100_000  # of one argument, under Linux' 128 KiB
# What a tool says when it cannot tell whether its message was acted on.
_IN_DOUBT: Final = ("timed out", "Zero Bytes", "Unable to contact", "Unexpected message", "connect failure", "Socket")


class Slurm:
    """`nodes` are ours: no other is drained or resumed. One thread at a time may call."""

    def __init__(self, nodes: Collection[str], call_s: float = CALL_S) -> None:
        self._nodes, self._call_s = frozenset(nodes), call_s

    def truth(self) -> Truth:
        nodes = self._rows("sinfo", "nodes")
        return truth_of(nodes, self._rows("squeue", "jobs"))

    def drain(self, node: str, reason: str) -> None:
        check_reason(reason)
        found = self._node(node)
        check_drain(found, reason)
        if out_for(found, reason):
            return
        told = self._change("update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")
        if not out_for(found := self._node(node), reason):
            raise Refused(f"node: {node} was drained, and is {found.availability.value}, for {shown(found.reason)}: {told.said}")

    def resume(self, node: str, reason: str) -> None:
        """UNDRAIN, and not RESUME, which would also call a node up that has gone down meanwhile."""
        check_reason(reason)
        check_resume(self._node(node), reason)
        told = self._change("update", f"NodeName={node}", "State=UNDRAIN")
        if out_for(self._node(node), reason):
            raise Refused(f"node: {node} is still drained: {told.said}")

    def requeue(self, job: str, restarts_seen: int) -> None:
        """Of a heterogeneous job it is the first part that can be asked."""
        check_requeue(self._job(job), restarts_seen)
        told = self._change("requeue", job)
        if self._job(job).restarts == restarts_seen:
            raise Refused(f"job: {job} was not requeued: {told.said}")

    def exclude(self, job: str, nodes: Sequence[str]) -> None:
        """Also while it completes: one that was requeued takes a list then, one that ends is refused by Slurm."""
        check_nodes(nodes)
        found = self._job(job)
        check_exclude(found, nodes, Phase.COMPLETING)
        wanted = tuple(dict.fromkeys((*found.excluded, *nodes)))
        if wanted == found.excluded:
            return
        if len(listed := ",".join(wanted)) > MOST_LIST_CHARS:
            raise Refused(f"nodes: with the {len(found.excluded)} that it is not started on already, they are too many for one request")
        told = self._change("update", f"JobId={job}", f"ExcNodeList={listed}")
        if lacking := set(wanted) - set(self._job(job).excluded):
            raise Refused(f"nodes: {job} may still be started on {', '.join(sorted(lacking)[:3])}: {told.said}")

    def _node(self, node: str) -> NodeTruth:
        """As it is now, if it is one of ours."""
        check_node(node)
        if node not in self._nodes:
            raise Refused(f"node: {node} is not one of ours")
        found = self.truth().nodes.get(node)
        if found is None:
            raise Refused(f"node: Slurm knows of no {node}")
        return found

    def _job(self, job: str) -> JobTruth:
        check_job(job)
        found = self.truth().jobs.get(job)
        if found is None:
            raise Refused(f"job: Slurm knows of no {job}")
        return found

    def _rows(self, tool: str, key: str) -> Sequence[Any]:
        ended = run((tool, "--all", "--json"), self._call_s)
        if ended.status != 0:
            raise Unreachable(f"{tool}: ended with {ended.status}: {ended.said}")
        return rows(ended.out, tool, key)

    def _change(self, *arguments: str) -> Ended:
        """What scontrol said to it; whether it was done is seen by reading it back."""
        ended = run(("scontrol", *arguments), self._call_s)
        if any(words in ended.said for words in _IN_DOUBT):
            raise Unreachable(f"scontrol: {ended.said}")
        return ended

