"""What a kind of finding is worth as evidence: who bears witness, what it does to a job, whether it may be a reason to act.

The kinds are those of docs/rules.md. One that is not here is no evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class Scope(Enum):
    """What a finding is about."""

    NODE = "node"
    GPU = "gpu"
    NIC = "nic"
    LINK = "link"
    RANK = "rank"
    JOB = "job"


class Harm(IntEnum):
    """What becomes of a job that uses the part."""

    LATER = 0  # it goes on, and may end where it is
    SLOWS = 1  # it goes on, slower: worth a checkpoint and a restart
    STOPS = 2  # it does not go on


class Nature(Enum):
    """Of a kind of finding."""

    FAULT = "fault"
    HINT = "hint"  # bears another's witness out, and is no reason to act
    SILENCE = "silence"  # of telemetry
    APPLICATION = "application"  # mostly the program's own error


@dataclass(frozen=True, slots=True)
class Sort:
    """Two signals are independent if no witness is common to both. `corrupts`: what was saved since it began may be wrong.
    `behaviour`: it is a job's behaviour that tells it. `slowness`: a power cap looks the same."""

    witnesses: frozenset[str]
    harm: Harm
    nature: Nature = Nature.FAULT
    corrupts: bool = False
    behaviour: bool = False
    slowness: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """One finding about a node's part, as it was last said. `since_s` is when it began; `part` is empty for the whole node; `job`, if it names one."""

    id: str
    kind: str
    node: str
    scope: Scope
    part: str
    firing: bool
    since_s: float
    summary: str = ""
    job: str = ""
    advice: str = ""


def _sort(witnesses: str, harm: Harm, *, corrupts: bool = False) -> Sort:
    return Sort(frozenset(witnesses.split()), harm, corrupts=corrupts)


def _comm(harm: Harm, *, slowness: bool = False) -> Sort:
    return Sort(frozenset({"communication"}), harm, behaviour=True, slowness=slowness)


_LATER, _SLOWS, _STOPS = Harm.LATER, Harm.SLOWS, Harm.STOPS
_NOT_THE_CARD: Final = (13, 31, 43, 45, 63, 94, 154, 162, 163, 164, 165)  # an application, a report, or something that healed itself
_MEMORY: Final = (48, 64, 92, 95, 140, 156, 171, 172)
_FABRIC: Final = (74, 144, 145, 146, 147, 148, 149, 150, 155)
_LATER_XIDS: Final = (56, 64, 65, 68, 69, 73, 81, 92, 156, 171, 172)
_CARD_XIDS: Final = (46, 54, 57, 58, 62, 79, 80, 109, 110, 119, 120, 136, 143, 151, 158, 159, *_MEMORY, *_FABRIC, *_LATER_XIDS)

# Throttle reasons of a card are one register; ECC counters, XIDs and the recovery action all come from one driver.
SORTS: Final[Mapping[str, Sort]] = {
    "driver_hung": _sort("driver", _STOPS),
    "gpu_missing": _sort("driver bus", _STOPS),
    "gpus_unread": _sort("driver", _STOPS),
    "gpu_lost": _sort("driver bus", _STOPS),
    "gpu_recovery_action": _sort("driver", _STOPS),
    "gpu_hardware_thermal": _sort("throttle", _SLOWS),
    "gpu_software_thermal": _sort("throttle", _SLOWS),
    "gpu_power_brake": _sort("throttle", _SLOWS),
    "gpu_hardware_slowdown": _sort("throttle", _SLOWS),
    "gpu_ecc_uncorrected": _sort("driver memory", _STOPS, corrupts=True),
    "gpu_ecc_storm": _sort("driver memory", _LATER),
    "gpu_row_remap_failure": _sort("driver memory", _LATER),
    "gpu_row_remap_pending": _sort("driver memory", _LATER),
    "gpu_nvlink_down": _sort("nvlink", _STOPS),
    "gpu_nvlink_errors": _sort("nvlink", _LATER),
    "gpu_pcie_degraded": _sort("bus", _SLOWS),
    "gpu_pcie_replays": _sort("bus", _LATER),
    "nic_link_down": _sort("nic", _STOPS),
    "nic_rate_degraded": _sort("nic", _SLOWS),
    "nic_link_flapping": _sort("nic", _SLOWS),
    "nic_errors": _sort("nic", _LATER),
    "nic_retransmits": _sort("nic", _SLOWS),
    "rank_hang": _comm(_STOPS),
    "rank_dead": _comm(_STOPS),
    "rank_slow": _comm(_SLOWS, slowness=True),
    "rank_hang_unclear": Sort(frozenset({"communication"}), _STOPS, Nature.HINT, behaviour=True),
    "scheduler_kill_failed": _sort("scheduler", _STOPS),
    "gpu_unusual": Sort(frozenset({"model", "throttle"}), _SLOWS, Nature.HINT, slowness=True),
    "host_unusual": Sort(frozenset({"model"}), _LATER, Nature.HINT),
    # It looks at what all the rules look at, and a node whose job hangs or limps is no longer as it was: it bears nobody's witness out.
    "node_unlike_itself": Sort(frozenset({"model", "throttle", "driver", "bus", "nvlink", "nic", "communication"}), _LATER, Nature.HINT, slowness=True),
    "node_stale": Sort(frozenset({"agent"}), _STOPS, Nature.SILENCE),
}


def sort_of(kind: str) -> Sort | None:
    """None: it is no evidence. An XID that is in no table is a hint."""
    if not kind.startswith("xid_") or not (number := kind.removeprefix("xid_")).isascii() or not number.isdecimal():
        return SORTS.get(kind)
    return _xid(int(number))


def _xid(code: int) -> Sort:
    extra = "memory" if code in _MEMORY else "nvlink" if code in _FABRIC else "bus" if code == 79 else ""
    witnesses = frozenset({"driver", *extra.split()})
    if code in _NOT_THE_CARD:
        return Sort(witnesses, Harm.STOPS, Nature.APPLICATION)
    if code not in _CARD_XIDS:
        return Sort(witnesses, Harm.LATER, Nature.HINT)
    return Sort(witnesses, Harm.LATER if code in _LATER_XIDS else Harm.STOPS, corrupts=code in (48, 95, 140))
