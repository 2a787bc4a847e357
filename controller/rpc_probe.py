"""Tests on an agent's session, as the isolating machine takes them: what the agent offers, and what came of one. Checked here once."""

import math
from typing import Final

from gpuwarden.controller.isolation.events import Probed
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.rpc_refusal import invalid
from gpuwarden.core.version import PROBES_SINCE
from gpuwarden.proto.control_pb2 import Hello, ProbeAnswer, ProbeOutcome
from gpuwarden.proto.finding_pb2 import Evidence

OFFERED_MOST: Final = 64
FIGURES_MOST: Final = 16
NAME_CHARS: Final = 253
SAID_CHARS: Final = 400
_WORDS: Final = {
    ProbeOutcome.PROBE_OUTCOME_PASSED: "passed", ProbeOutcome.PROBE_OUTCOME_FAILED: "failed",
    ProbeOutcome.PROBE_OUTCOME_IMPOSSIBLE: "could not be run", ProbeOutcome.PROBE_OUTCOME_DEADLINE: "was ended, it took too long",
}  # fmt: skip
_PASSED: Final = {ProbeOutcome.PROBE_OUTCOME_PASSED: True, ProbeOutcome.PROBE_OUTCOME_FAILED: False}


def offered(hello: Hello, version: int) -> tuple[OfferedProbe, ...]:
    """Nothing by an agent of a version that knows no tests. Refused where one cannot be."""
    if len(hello.probes) > OFFERED_MOST:
        raise invalid("hello.probes", "TOO_MANY", f"hello.probes: are {len(hello.probes)}, {OFFERED_MOST} may come")
    for one in hello.probes:
        _check_name("hello.probes.name", one.name)
        for field, value in (("needs_w", one.needs_w), ("deadline_s", one.deadline_s)):
            if not (math.isfinite(value) and value >= 0):
                raise invalid(f"hello.probes.{field}", "BAD_NUMBER", f"hello.probes.{field}: is {value:g}, should be 0 or more")
    probes = hello.probes if version >= PROBES_SINCE else ()
    return tuple(OfferedProbe(one.name, one.harmless, one.needs_w, one.deadline_s) for one in probes)


def probed(node: str, answer: ProbeAnswer) -> Probed:
    """One that took too long, or could not be run, says nothing of the node."""
    for field, text in (("probe.id", answer.id), ("probe.name", answer.name)):
        _check_name(field, text)
    if answer.outcome not in _WORDS:
        raise invalid("probe.outcome", "BAD_OUTCOME", f"probe.outcome: is {answer.outcome}, should be passed, failed, impossible or deadline")
    if len(answer.figures) > FIGURES_MOST:
        raise invalid("probe.figures", "TOO_MANY", f"probe.figures: are {len(answer.figures)}, {FIGURES_MOST} may come")
    figures = ", ".join(map(_figure, answer.figures))
    took = f" after {answer.took_s:.0f} s" if answer.took_s > 0 else ""
    said = f"{answer.name} {_WORDS[answer.outcome]}{took}: {answer.said}" + (f"; {figures}" if figures else "")
    return Probed(answer.id, node, _PASSED.get(answer.outcome), _printable(said))


def unheard(node: str, id: str, name: str) -> Probed:
    return Probed(id, node, None, f"{name} could not be run: its agent is not in session")


def _figure(figure: Evidence) -> str:
    expected = f" (expected {figure.expected:.4g})" if figure.HasField("expected") else ""
    return f"{figure.name} {figure.value:.4g} {figure.unit}".rstrip() + expected


def _printable(said: str) -> str:
    """It is shown in a ledger and on terminals, never acted on."""
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:SAID_CHARS]


def _check_name(field: str, text: str) -> None:
    if not 0 < len(text) <= NAME_CHARS:
        raise invalid(field, "BAD_LENGTH", f"{field}: has {len(text)} characters, 1 to {NAME_CHARS} may come")
