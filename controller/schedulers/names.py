"""The door before every scheduler: names and reasons that may reach it. What is not plainly one of these is refused, with the field and why."""

import re
from collections.abc import Sequence
from typing import Final

from gpuwarden.controller.schedulers.scheduler import Refused

MOST_EXCLUDED: Final = 1000  # nodes in one request
MOST_SHOWN_CHARS: Final = 60

_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_EVERY_NODE: Final = "ALL"  # to Slurm, in whatever case: one order would drain the whole cluster
_JOB: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,126}", re.ASCII)
_REASON: Final = re.compile(r"[!-~]([ -~]{0,198}[!-~])?", re.ASCII)


def check_node(node: str, field: str = "node") -> None:
    """Refused if it is not the name of one node."""
    if _NODE.fullmatch(node) is None:
        raise Refused(f"{field}: {shown(node)} is not a node's name: letters, digits, '.', '_' and '-', 63 at most")
    if node.upper() == _EVERY_NODE:
        raise Refused(f"{field}: {shown(node)} stands for every node there is")


def check_nodes(nodes: Sequence[str]) -> None:
    """Refused if one is not the name of a node, or they are none or too many."""
    if not 1 <= len(nodes) <= MOST_EXCLUDED:
        raise Refused(f"nodes: are {len(nodes)}, should be 1 to {MOST_EXCLUDED}")
    for index, node in enumerate(nodes):
        check_node(node, f"nodes[{index}]")


def check_job(job: str) -> None:
    """Refused if it is not a job's id in any scheduler."""
    if _JOB.fullmatch(job) is None:
        raise Refused(f"job: {shown(job)} is not a job's id: letters, digits, '.', '_', '/' and '-', 127 at most")


def check_reason(reason: str) -> None:
    """Refused if it would not be read back as it is."""
    if _REASON.fullmatch(reason) is None:
        raise Refused(f"reason: {shown(reason)} should be 1 to 200 printable ASCII characters in one line, without blanks at its ends")


def shown(text: str) -> str:
    """For a sentence: escaped, and not the whole of what is too long."""
    return ascii(text if len(text) <= MOST_SHOWN_CHARS else text[:MOST_SHOWN_CHARS] + "...")
