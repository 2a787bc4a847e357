"""What processes cost, from /proc."""

import os
from pathlib import Path
from typing import Final

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = (Path(f"/proc/{pid}/task") / task / "children" for task in os.listdir(f"/proc/{pid}/task"))
    return [pid, *(own for file in children for child in file.read_text().split() for own in family(int(child)))]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def pss_mib(pid: int) -> float:
    """What processes share is counted once."""
    return _rolled_up_mib(pid, "Pss:")


def own_mib(pid: int) -> float:
    """What it has written to: this does not move when others load, or let go of, the libraries that it shares with them."""
    return _rolled_up_mib(pid, "Anonymous:")


def _rolled_up_mib(pid: int, key: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))
