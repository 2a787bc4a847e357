"""The calibrated row, frozen: what `bench/power_row.py` found before any policy ran, in `row.toml` with its seeds."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from gpuwarden.sim.serving.requests import DAY_S, MIX, Envelope, Requests, asked, even_gaps, trace_gaps

FILE: Final = Path(__file__).with_name("row.toml")
_GAPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Frozen:
    """`rate_hz`: requests a second of the whole row at the envelope's 1."""

    servers: int
    rate_hz: float
    seed: int
    envelope: Envelope


def frozen() -> Frozen:
    made = tomllib.loads(FILE.read_text())
    return Frozen(made["servers"], made["rate_hz"], made["seed"], Envelope(**made["envelope"]))


def requests_of(row: Frozen, servers: int, days: float, seed: int, trace: Path | None, low_ratio: float = 0.5) -> Requests:
    """The load grows with the servers, and of each priority with its share of them, `low_ratio` and the rest. BadTrace, OSError."""
    chance = np.random.default_rng([row.seed, seed])
    gaps_s = trace_gaps(trace) if trace is not None else even_gaps(_GAPS, chance)
    even = sum(kind.share for kind in MIX if not kind.high)
    mix = [replace(kind, share=kind.share * ((1.0 - low_ratio) / (1.0 - even) if kind.high else low_ratio / even)) for kind in MIX]
    return asked(gaps_s, row.rate_hz * servers / row.servers, days * DAY_S, row.envelope, chance, mix)
