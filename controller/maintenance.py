"""Maintenance windows: alerts of these nodes, or of a whole domain, are written down and told to nobody until the window ends."""

from collections.abc import Iterable
from dataclasses import dataclass

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


class Windows:
    """Those that have not ended, by id, and what they cover together."""

    def __init__(self, remembered: Iterable[Window]) -> None:
        self.open = {window.id: window for window in remembered}
        self._count()

    def add(self, window: Window) -> None:
        self.open[window.id] = window
        self._count()

    def end(self, id: str) -> None:
        del self.open[id]
        self._count()

    def _count(self) -> None:
        """Once a change, since every alert and every node of a rack asks ten times a second."""
        self._nodes = {node for window in self.open.values() for node in window.nodes}
        self._domains = {window.domain for window in self.open.values() if not window.nodes}

    def ended(self, unix_ns: int) -> list[Window]:
        """Those whose time is over: they are open no longer."""
        over = [window for window in self.open.values() if window.until_unix_ns <= unix_ns]
        for window in over:
            self.end(window.id)
        return over

    def cover(self, node: str, domain: str) -> bool:
        """`node` is empty for the domain itself."""
        return node in self._nodes or domain in self._domains
