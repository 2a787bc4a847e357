"""Ledger lines in the making, and the newest of them for those who watch."""

from collections import deque
from collections.abc import Sequence

from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.finding_pb2 import Evidence

SHOWN = 100


class Lines:
    """Serialises lines. `unix_ns` is the newest tick's wall clock; the ledger stamps its own."""

    def __init__(self) -> None:
        self.unix_ns = 0
        self.newest: deque[Line] = deque(maxlen=SHOWN)

    def line(
        self,
        kind: str,
        subject: str,
        reason: str,
        *,
        epoch: int = 0,
        performed: bool = True,
        evidence: Sequence[tuple[str, float, str]] = (),
        actor: str = "controller",
    ) -> bytes:
        """`evidence` has (name, value, unit). A serialised `Action` without id and time."""
        line = Line(
            epoch=epoch, kind=kind, subject=subject, performed=performed, reason=reason, actor=actor,
            evidence=[Evidence(name=name, value=value, unit=unit) for name, value, unit in evidence],
        )
        payload = line.SerializeToString()
        line.unix_ns = self.unix_ns
        self.newest.appendleft(line)
        return payload
