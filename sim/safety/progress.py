"""How far a run of days has come, a line now and then: the same on a terminal and in a log."""

from dataclasses import dataclass, field
from typing import Final

from gpuwarden.sim.safety.told import HOUR_S

EVERY_S: Final = 30.0


@dataclass(slots=True)
class Progress:
    """`whole_s`: simulated seconds to run, of both paces in turn, so that what is left takes as long as what is done; `began_s`, real time."""

    whole_s: float
    began_s: float
    done_s: float = 0.0
    runs: int = 0
    _told_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._told_s = self.began_s

    def done(self, seconds: float) -> None:
        """A run of so many simulated seconds has ended."""
        self.done_s, self.runs = self.done_s + seconds, self.runs + 1

    def line(self, now_s: float) -> str:
        """'' where the last one is not long ago."""
        if now_s - self._told_s < EVERY_S:
            return ""
        self._told_s = now_s
        past_s, share = now_s - self.began_s, self.done_s / self.whole_s
        left = f"{self.done_s / past_s:.1f} times real time, about {_shown(past_s / share - past_s)} to go" if share else "the first run is under way"
        return f"{self.done_s / HOUR_S:,.1f} of {self.whole_s / HOUR_S:,.1f} h ({share:.1%}), {self.runs} runs in {_shown(past_s)}: {left}"


def _shown(seconds: float) -> str:
    minutes = round(seconds / 60.0)
    return f"{minutes // 60:,} h {minutes % 60:02} min"
