"""Who holds a node out of work, as the scheduler's reason tells."""

import re
from enum import Enum
from typing import Final

from gpuwarden.controller.schedulers.scheduler import Availability, NodeTruth

PREFIX: Final = "gpuwarden:"
REASON_CHARS: Final = 120
_OURS: Final = re.compile(rf"{PREFIX}(?P<id>q\d{{1,12}})(?: .*)?", re.DOTALL)
KILL_FAILED: Final = "Kill task failed"  # Slurm drains a node itself where a process outlived SIGKILL
_SCHEDULERS_OWN: Final = (KILL_FAILED, "Not responding", "Not ready")  # no person's word, and not ours to undo


class Holder(Enum):
    """Of a node."""

    NOBODY = "nobody"
    US = "us"
    SCHEDULER = "the scheduler itself"
    OTHERS = "somebody else"


def reason_for(case: str, cause: str) -> str:
    """What the scheduler is told: whose it is, which quarantine, and a short cause in printable ASCII."""
    return f"{PREFIX}{case} {''.join(letter if ' ' <= letter <= '~' else '?' for letter in cause)}"[:REASON_CHARS]


def case_of(reason: str) -> str:
    """The quarantine's id in a reason of ours; empty if it is none."""
    match = _OURS.fullmatch(reason)
    return match["id"] if match else ""


def holder_of(node: NodeTruth) -> Holder:
    """A node that is down for no stated reason is nobody's."""
    if node.availability is Availability.AVAILABLE:
        return Holder.NOBODY
    if case_of(node.reason):
        return Holder.US
    if node.reason.startswith(_SCHEDULERS_OWN):
        return Holder.SCHEDULER
    return Holder.NOBODY if node.availability is Availability.DOWN and not node.reason else Holder.OTHERS
