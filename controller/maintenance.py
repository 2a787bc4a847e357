"""Maintenance windows: alerts of these nodes, or of a whole domain, are written down and told to nobody until the window ends."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpuwarden.controller.telling import Alert

LONGEST_S = 7 * 86_400.0
MOST_WINDOWS = 256


@dataclass(frozen=True, slots=True)
class Window:
    """Of `nodes`, or of everything in `domain`. Ends by the wall clock, since people plan by it."""

    id: str
    nodes: tuple[str, ...]
    domain: str
    until_unix_ns: int
    reason: str
    actor: str

    def covers(self, alert: Alert) -> bool:
        return alert.node in self.nodes if self.nodes else alert.domain == self.domain


class Windows:
    """Those that have not ended, by id."""

    def __init__(self, remembered: Iterable[Window]) -> None:
        self.open = {window.id: window for window in remembered}

    def ended(self, unix_ns: int) -> list[Window]:
        """Those whose time is over: they are open no longer."""
        over = [window for window in self.open.values() if window.until_unix_ns <= unix_ns]
        for window in over:
            del self.open[window.id]
        return over

    def mute(self, alert: Alert) -> bool:
        return any(window.covers(alert) for window in self.open.values())
