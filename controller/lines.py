"""Ledger lines in the making, and the newest of them for those who watch."""

from collections import deque
from collections.abc import Iterator, Sequence

from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.finding_pb2 import Evidence

SHOWN = 100
CONTROLLER = "controller"


class Lines:
    """Serialises lines. `unix_ns` is the newest tick's wall clock; the ledger stamps its own."""

    def __init__(self) -> None:
        self.unix_ns = 0
        self._newest: deque[tuple[bytes, int]] = deque(maxlen=SHOWN)

    def line(
        self,
        kind: str,
        subject: str,
        reason: str,
        *,
        epoch: int = 0,
        performed: bool = True,
        evidence: Sequence[tuple[str, float, str]] = (),
        actor: str = CONTROLLER,
    ) -> bytes:
        """`evidence` has (name, value, unit). A serialised `Action` without id and time."""
        line = Line(
            epoch=epoch, kind=kind, subject=subject, performed=performed, reason=reason, actor=actor,
            evidence=[Evidence(name=name, value=value, unit=unit) for name, value, unit in evidence],
        )
        return self.keep(line.SerializeToString())

    def keep(self, payload: bytes) -> bytes:
        """For those who watch; the same payload."""
        self._newest.appendleft((payload, self.unix_ns))
        return payload

    @property
    def newest(self) -> Iterator[Line]:
        """Newest first."""
        for payload, unix_ns in self._newest:
            line = Line.FromString(payload)
            line.unix_ns = unix_ns
            yield line


class Alike:
    """Lines of the controller's own in one decision, which may be thousands: to make each message anew is most of what they take.

    What comes first is one message, filled in again for each line, what comes last is serialised once: a message's bytes are those of its
    fields, one after another. Not to be kept: whatever such a message once held takes room for as long as it lives.
    """

    def __init__(self, lines: Lines, epoch: int, performed: bool, own: Sequence[tuple[str, str]], shared: Sequence[tuple[str, float, str]]) -> None:
        """`own`: names and units of the evidence that each line has of its own, `shared`: the evidence that all have."""
        self._lines = lines
        self._first = Line(epoch=epoch, performed=performed, evidence=[Evidence(name=name, unit=unit) for name, unit in own])
        self._own = list(self._first.evidence)
        self._last = Line(actor=CONTROLLER, evidence=[Evidence(name=name, value=value, unit=unit) for name, value, unit in shared]).SerializeToString()

    def line(self, kind: str, subject: str, reason: str, values: Sequence[float]) -> bytes:
        """See `Lines.line`."""
        first = self._first
        first.kind, first.subject, first.reason = kind, subject, reason
        for evidence, value in zip(self._own, values, strict=True):
            evidence.value = value
        return self._lines.keep(first.SerializeToString() + self._last)
