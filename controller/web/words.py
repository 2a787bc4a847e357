"""How the page and the terminal put numbers and subjects into words."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from gpuwarden.proto.control_pb2 import NodeState, PowerDomain
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Severity, Subject
from gpuwarden.proto.lease_pb2 import Mode


def _words(enum: Iterable[tuple[str, int]], prefix: str) -> Mapping[int, str]:
    return {number: name.removeprefix(prefix).lower() for name, number in enum}


_MODES: Final = _words(Mode.items(), "MODE_")
_NODE_STATES: Final = _words(NodeState.items(), "NODE_STATE_")
_SEVERITIES: Final = _words(Severity.items(), "SEVERITY_")


def hottest(domain: PowerDomain) -> str:
    """The limit whose heat a domain shows; the domain's own before anything is known of others."""
    usual = [limit for limit in domain.limits if not limit.contingency]
    return max(usual, key=lambda limit: limit.heat_ratio).name if usual else domain.name


def mode(number: int) -> str:
    return _MODES.get(number, f"mode {number}")


def node_state(number: int) -> str:
    return _NODE_STATES.get(number, f"state {number}")


def severity(number: int) -> str:
    return _SEVERITIES.get(number, f"severity {number}")


def subject(of: Subject) -> str:
    return f"{of.node}/{of.id}" if of.id else of.node


def watts(power_w: float) -> str:
    """Three significant digits or so, as a person says them: `640 W`, `71.2 kW`, `1.25 MW`."""
    if not math.isfinite(power_w):
        return "no reading"
    if abs(power_w) < 999.5:
        return f"{power_w:,.0f} W"
    if abs(power_w) < 999_950:
        return f"{power_w / 1e3:.1f} kW"
    return f"{power_w / 1e6:.2f} MW"


def percent(ratio: float) -> str:
    return f"{ratio * 100:.0f} %" if math.isfinite(ratio) else "no reading"


def evidence(one: Evidence) -> str:
    """`step time 1.61 s, 1.31 s expected`."""
    said = f"{one.name} {quantity(one.value, one.unit)}"
    return f"{said}, {quantity(one.expected, one.unit)} expected" if one.HasField("expected") else said


def quantity(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "unknown"
    if unit == "W":
        return watts(value)
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def urgent_first(findings: Iterable[Finding]) -> list[Finding]:
    """Firing before resolved, then the gravest, then the newest."""
    return sorted(findings, key=lambda one: (one.state != FindingState.FINDING_STATE_FIRING, -one.severity, -one.since_unix_ns))
