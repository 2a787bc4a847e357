"""What a rule is: a condition on many devices at once, and the words for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.findings import Claim, subject_of
from gpuwarden.detector.hysteresis import Patience
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.finding_pb2 import Evidence, Severity

INFO: Final = Severity.SEVERITY_INFO
WARNING: Final = Severity.SEVERITY_WARNING
CRITICAL: Final = Severity.SEVERITY_CRITICAL

AT_ONCE: Final = (1, 1)

Look = Callable[[View], Values]


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the evidence, and how to get it. A number that is unknown is left out."""

    name: str
    look: Look
    unit: str = ""
    expected: Look | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """`score` is above 0 where it is so, 0 where it is not, NaN where nothing can be said. `fires` is (bad, of) samples."""

    kind: str
    device: Device
    severity: "Severity.ValueType"
    sentence: str
    action: str
    score: Look
    facts: tuple[Fact, ...]
    fires: tuple[int, int] = (3, 5)
    quiet_s: float = 60.0

    @property
    def patience(self) -> Patience:
        return Patience(*self.fires, self.quiet_s)

    def claim(self, view: View, row: int, score: float, node: str, device_id: str) -> Claim:
        """Of one row of the view."""
        evidence = tuple(self._evidence(view.row(row)))
        shown = ", ".join(_shown(one) for one in evidence)
        return Claim(
            self.kind, subject_of(self.device, node, device_id), self.severity, score,
            f"{self.sentence}: {shown}" if shown else self.sentence, self.action, f"rules/{self.kind}", evidence,
        )

    def _evidence(self, one: View) -> Iterator[Evidence]:
        for fact in self.facts:
            value = float(fact.look(one)[0])
            expected = None if fact.expected is None else float(fact.expected(one)[0])
            if not np.isnan(value):
                yield Evidence(name=fact.name, value=value, expected=expected, unit=fact.unit)


def _shown(one: Evidence) -> str:
    number = f"{one.value:.4g} {one.unit}".rstrip()
    return f"{one.name} {number}, should be {one.expected:.4g}" if one.HasField("expected") else f"{one.name} {number}"


def value_of(metric: str) -> Look:
    return lambda view: view.value(metric)


def increase_of(metric: str) -> Look:
    return lambda view: view.increase(metric)


def rate_of(metric: str) -> Look:
    return lambda view: view.rate(metric)


def highest_of(metric: str) -> Look:
    return lambda view: view.highest(metric)


def none(view: View) -> Values:
    """The expected value of what should not be at all."""
    return np.zeros(len(view.now), np.float32)
