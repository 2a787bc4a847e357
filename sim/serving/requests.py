"""What is asked of a serving row: when (a real trace under a daily and weekly envelope) and what (the paper's mix)."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Tokens = NDArray[np.int32]

DAY_S: Final = 86400.0
_GRID_S: Final = 60.0


class BadTrace(ValueError):
    """The line and the reason."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One workload of the mix; token counts are even between the two ends."""

    name: str
    share: float
    high: bool  # priority
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]


# POLCA's mix, as recalled: half of the load is of either priority.
MIX: Final = (
    Kind("summarize", 0.25, False, (2048, 8192), (256, 512)),
    Kind("search", 0.25, True, (512, 2048), (1024, 2048)),
    Kind("chat-low", 0.25, False, (2048, 4096), (128, 2048)),
    Kind("chat-high", 0.25, True, (2048, 4096), (128, 2048)),
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """How the rate goes through day and week: 1 at the peak hour of a working day. The start is a Monday at midnight.

    The defaults are those of Azure's conversation service over a week: its peak is 1.7 times the mean and 3.3 times the valley
    (DynamoLLM, HPCA'25, recalled).
    """

    night: float = 0.3  # rate twelve hours from the peak
    peak_hour: float = 14.0
    weekend: float = 0.7

    def __call__(self, times_s: Values) -> Values:
        hours = times_s / 3600.0
        daily = 1.0 - (1.0 - self.night) * (1.0 - np.cos(2 * np.pi * (hours - self.peak_hour) / 24.0)) / 2.0
        rate: Values = np.where((times_s // DAY_S) % 7 >= 5, self.weekend, 1.0) * daily
        return rate


@dataclass(frozen=True, slots=True)
class Requests:
    """In order of time; arrays have one entry a request. `kind` counts in the mix.

    `guest`, from 0 to 1: whose it is. Guests own the servers (POLCA's setting), so that nobody spreads requests over a row: a guest's go to its server.
    """

    time_s: Values
    kind: NDArray[np.int8]
    prompt_tokens: Tokens
    output_tokens: Tokens
    guest: Values

    def since(self, begin_s: float) -> "Requests":
        """Those that come from `begin_s` on, which becomes 0."""
        later = self.time_s >= begin_s
        return Requests(self.time_s[later] - begin_s, self.kind[later], self.prompt_tokens[later], self.output_tokens[later], self.guest[later])


def trace_gaps(file: Path) -> Values:
    """Times between the requests of an Azure trace (TIMESTAMP,ContextTokens,GeneratedTokens), s. BadTrace, OSError."""
    with file.open(newline="") as lines:
        rows = csv.DictReader(lines)
        try:
            times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
        except (KeyError, TypeError, ValueError) as why:
            raise BadTrace(f"{file}: line {rows.line_num}: {why!r}, expected TIMESTAMP as YYYY-MM-DD HH:MM:SS.ffffff") from None
    if times != sorted(times) or not times or times[0] == times[-1]:
        raise BadTrace(f"{file}: {len(times)} requests; at least 2 in order of time, and not all at once, are needed")
    return np.diff(times)


def even_gaps(count: int, chance: np.random.Generator) -> Values:
    """Where there is no trace: as bursty as the Azure one, whose requests in a second vary 1.39 times as much as Poisson's."""
    return chance.gamma(1 / 1.39, 1.39, count)


def asked(gaps_s: Values, rate_hz: float, duration_s: float, envelope: Envelope, chance: np.random.Generator, mix: Sequence[Kind] = MIX) -> Requests:
    """`rate_hz`: at the envelope's 1. The trace is played again and again from another place, its clock stretched to the rate."""
    grid_s = np.arange(0.0, duration_s + _GRID_S, _GRID_S)
    expected = np.concatenate([[0.0], np.cumsum(rate_hz * envelope(grid_s[:-1] + _GRID_S / 2) * _GRID_S)])
    turns = [np.roll(gaps_s, -int(chance.integers(len(gaps_s)))) for _ in range(int(expected[-1]) // len(gaps_s) + 2)]
    places = np.cumsum(np.concatenate(turns) / gaps_s.mean())
    time_s = np.interp(places[places < expected[-1]], expected, grid_s)
    time_s = time_s[time_s < duration_s]
    kind = chance.choice(len(mix), len(time_s), p=[one.share for one in mix]).astype(np.int8)
    prompts, outputs = (_drawn(ranges, kind, chance) for ranges in ([one.prompt_tokens for one in mix], [one.output_tokens for one in mix]))
    return Requests(time_s, kind, prompts, outputs, chance.random(len(time_s)))


def _drawn(ranges: list[tuple[int, int]], kind: NDArray[np.int8], chance: np.random.Generator) -> Tokens:
    low, high = np.array(ranges, np.int32).T
    drawn: Tokens = chance.integers(low[kind], high[kind] + 1).astype(np.int32)
    return drawn
