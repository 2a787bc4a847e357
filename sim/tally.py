"""What a run of the row came to: figures that are the same for the same seed, on every machine and at every speed."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stretch:
    """How long something was so, in all and at most in one go."""

    total_s: float = 0.0
    longest_s: float = 0.0
    _now_s: float = 0.0

    def pass_by(self, seconds: float, so: bool) -> None:
        self._now_s = self._now_s + seconds if so else 0.0
        self.total_s += seconds if so else 0.0
        self.longest_s = max(self.longest_s, self._now_s)


@dataclass(slots=True)
class Tally:
    """Counted outside of the machines wherever that is possible."""

    samples_sent: int = 0
    dead_letters: int = 0
    grants_sent: int = 0
    peak_before_w: float = 0.0
    peak_after_w: float = 0.0
    wanted_j: float = 0.0
    drawn_j: float = 0.0
    over_budget: Stretch = field(default_factory=Stretch)
    ledger_ordered: Counter[str] = field(default_factory=Counter)
    alerts_fired: list[str] = field(default_factory=list)

    def power(self, wanted_w: float, drawn_w: float, budget_w: float, seconds: float) -> None:
        """`seconds` at these draws of the whole row."""
        self.peak_before_w = max(self.peak_before_w, wanted_w)
        self.peak_after_w = max(self.peak_after_w, drawn_w)
        self.wanted_j += wanted_w * seconds
        self.drawn_j += drawn_w * seconds
        self.over_budget.pass_by(seconds, drawn_w > budget_w)
